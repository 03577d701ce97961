#![allow(clippy::unwrap_used, clippy::expect_used)]

mod buffer;
mod contract;
mod deliver;
mod limits;
mod plan;

/// 2024-01-01T00:00:00Z
const NOW_MS: i64 = 1_704_067_200_000;
