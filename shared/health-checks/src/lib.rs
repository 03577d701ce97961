//! What registration (`api`) and probing (`health`) share: check definitions, the guard against probes
//! of private networks, conditions, states, uptime and badges. Makes no HTTP request and knows no AWS.

pub mod badge;
pub mod check;
pub mod condition;
#[cfg(any(test, feature = "testing"))]
pub mod forms;
pub mod glob;
pub mod guard;
pub mod history;
pub mod newest;
pub mod number;
mod operand;
pub mod redacted;
pub mod register;
pub mod resolve;
pub mod state;
pub mod steps;
pub mod sums;
pub mod target;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod uptime;
