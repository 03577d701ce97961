//! The adapters: the only crate that names `aws_sdk_*`. Each service is a feature, so a function links only
//! the SDKs that it calls.

pub mod client;
pub mod faults;

#[cfg(feature = "dynamodb")]
pub mod alerts;
#[cfg(feature = "dynamodb")]
pub mod apps;
#[cfg(feature = "dynamodb")]
pub mod arrivals;
#[cfg(feature = "dynamodb")]
pub mod backlog;
#[cfg(feature = "dynamodb")]
mod batch;
#[cfg(feature = "dynamodb")]
pub mod block_item;
#[cfg(feature = "dynamodb")]
pub mod blocks;
#[cfg(feature = "dynamodb")]
pub mod bookmarks;
#[cfg(feature = "dynamodb")]
pub mod checks;
#[cfg(feature = "chime")]
pub mod chime;
#[cfg(feature = "s3")]
pub mod dead_letters;
#[cfg(feature = "dynamodb")]
mod erasures;
#[cfg(feature = "dynamodb")]
pub mod files;
#[cfg(feature = "dynamodb")]
pub mod flush_marks;
#[cfg(feature = "dynamodb")]
pub mod item;
#[cfg(feature = "dynamodb")]
pub mod ledger;
#[cfg(feature = "s3")]
pub mod listing;
#[cfg(feature = "logs")]
pub mod logs;
#[cfg(feature = "dynamodb")]
mod misses;
#[cfg(feature = "s3")]
pub mod multipart;
#[cfg(feature = "sns")]
pub mod notifier;
#[cfg(feature = "s3")]
pub mod objects;
#[cfg(feature = "dynamodb")]
pub mod records;
#[cfg(feature = "secrets")]
pub mod secrets;
#[cfg(feature = "dynamodb")]
pub mod sessions;
#[cfg(feature = "lambda")]
pub mod starter;
#[cfg(feature = "dynamodb")]
pub mod stats;
#[cfg(feature = "dynamodb")]
mod table;
#[cfg(feature = "dynamodb")]
pub mod transact;
#[cfg(feature = "dynamodb")]
pub mod usage;
