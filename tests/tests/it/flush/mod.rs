//! Flush on a simulated cloud: blocks, crashes, the event source mapping, and dead letters.

mod blocks;
mod crashes;
mod dead_letters;
mod deleted_apps;
mod embedded_metrics;
mod lanes;
mod mapping;
mod marks;
mod redrive;
mod retentions;
mod world;
