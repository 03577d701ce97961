#![allow(clippy::unwrap_used, clippy::expect_used)]

mod blocks;
mod crashes;
mod dead_letters;
mod mapping;
mod world;
