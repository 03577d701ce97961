//! What the handlers ask of the outside world, in domain words. The adapters of `logferry_aws`
//! answer it, and so does the simulated cloud of the fault tests; both pass one suite.

pub mod app_admin;
pub mod apps;
pub mod attendees;
pub mod backlog;
pub mod blocks;
pub mod bucket;
pub mod checks;
pub mod clock;
pub mod dead_letters;
pub mod files;
pub mod flush_marks;
pub mod ledger;
pub mod log_groups;
pub mod notifier;
pub mod objects;
pub mod records;
pub mod secrets;
pub mod sessions;
pub mod stats;
pub mod usage;

pub use app_admin::AppAdmin;
pub use apps::Apps;
pub use attendees::Attendees;
pub use backlog::{Backlog, Starter};
pub use blocks::BlockTable;
pub use bucket::{Bookmarks, Listing};
pub use checks::CheckTable;
pub use clock::{Clock, SystemClock};
pub use dead_letters::DeadLetters;
pub use files::Files;
pub use flush_marks::FlushMarks;
pub use ledger::Ledger;
pub use log_groups::LogGroups;
pub use notifier::Notifier;
pub use objects::ObjectStore;
pub use records::Records;
pub use secrets::Secrets;
pub use sessions::{Multipart, Sessions};
pub use stats::Stats;
pub use usage::Usage;
