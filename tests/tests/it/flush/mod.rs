//! Flush over a simulated cloud: what it makes of blocks, of its own death, of the stream's mapping,
//! and what becomes of dead letters.

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
