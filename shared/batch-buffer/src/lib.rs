#![doc = include_str!("../README.md")]

pub mod body;
pub mod buffer;
mod config;
pub mod deliver;
mod escape;
pub mod event;
pub mod limits;
pub mod plan;
pub mod send;
pub mod split;
pub mod structured;
#[cfg(feature = "testing")]
pub mod testing;

pub use buffer::{AddError, BatchBuffer, FlushError, Metrics, Stopped, Unsent};
pub use config::{Config, ConfigError, MIN_BATCH_BYTES};
pub use deliver::{DeadLetter, Delivery, Reason, RetryPolicy, deliver};
pub use event::Event;
pub use plan::{Batcher, Limits, Plan, plan};
pub use send::{Accepted, ErrorClass, Rejected, Request, SendError, Sender};
pub use structured::Structured;
