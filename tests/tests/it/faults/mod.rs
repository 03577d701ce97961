//! Nothing lost, nothing twice: ingest, flush and sweep over a simulated cloud whose calls fail
//! before, lose their answers, hang to the deadline or come late.

mod crash_points;
mod fifty_apps;
mod removals;
mod schedules;
mod world;
