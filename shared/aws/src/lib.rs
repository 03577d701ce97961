//! The adapters: the only crate that names `aws_sdk_*`. A feature per service, so that a function
//! links no SDK that it does not call.

pub mod client;
pub mod faults;

#[cfg(feature = "dynamodb")]
pub mod blocks;
#[cfg(feature = "dynamodb")]
pub mod checks;
#[cfg(feature = "dynamodb")]
pub mod item;
#[cfg(feature = "dynamodb")]
pub mod ledger;
#[cfg(feature = "sns")]
pub mod notifier;
#[cfg(feature = "s3")]
pub mod objects;
#[cfg(feature = "s3")]
pub mod presign;
#[cfg(feature = "secrets")]
pub mod secrets;
