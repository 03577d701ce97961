//! Alerts on a simulated cloud: which notifications a stream of blocks makes, whatever dies in between.

mod crashes;
mod firing;
pub(crate) mod rules;
mod schedules;
mod world;
