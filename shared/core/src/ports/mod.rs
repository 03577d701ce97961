//! Ports that belong to no single concept. `logferry_aws` and the simulated cloud of the fault tests implement
//! them; both pass the same contract suite.

pub mod alerts;
pub mod app_admin;
pub mod apps;
pub mod arrivals;
pub mod clock;
pub mod dead_letters;
pub mod erasures;
pub mod flush_marks;
pub mod log_groups;
pub mod objects;
pub mod secrets;
pub mod usage;
