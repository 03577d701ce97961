//! Nothing is lost or duplicated: ingest, flush and sweep on a simulated cloud whose calls fail, lose their
//! responses, hang until the deadline or are processed late.

mod crash_points;
mod fifty_apps;
mod removals;
mod schedules;
pub(crate) mod world;
