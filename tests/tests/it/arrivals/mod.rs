//! The order of arrival: every record of an app once, however its blocks reach `flush`.

mod crashes;
mod limits;
mod world;
