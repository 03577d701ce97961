//! Flush over a simulated cloud: what it makes of blocks, of its own death, of the stream's mapping,
//! and what becomes of dead letters.

mod blocks;
mod crashes;
mod dead_letters;
mod mapping;
mod redrive;
mod world;
