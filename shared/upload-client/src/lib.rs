#![doc = include_str!("../README.md")]

mod client;
mod error;
mod event;
mod logs;
mod pace;
mod state;
mod upload;

pub use client::{Client, Credential, sends_in_clear};
pub use error::Error;
pub use event::Event;
pub use logs::Attendee;
pub use upload::{Upload, Uploaded};
