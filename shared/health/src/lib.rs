//! Shared by registration (`api`) and probing (`health`): check definitions, the guard against probes of
//! private networks, conditions, states, uptime and badges. Makes no HTTP requests and knows no AWS.

pub mod badge;
pub mod check;
pub mod condition;
pub mod guard;
pub mod history;
pub mod newest;
pub mod notifier;
pub mod redacted;
pub mod register;
pub mod rows;
pub mod state;
pub mod status;
pub mod sums;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod uptime;
pub mod window;
