//! What the handlers ask of the outside world, in domain words. The adapters of `logferry_aws`
//! answer it, and so does the simulated cloud of the fault tests; both pass one suite.

pub mod apps;
pub mod blocks;
pub mod checks;
pub mod clock;
pub mod ledger;
pub mod notifier;
pub mod objects;
pub mod secrets;

pub use apps::Apps;
pub use blocks::BlockTable;
pub use checks::CheckTable;
pub use clock::{Clock, SystemClock};
pub use ledger::Ledger;
pub use notifier::Notifier;
pub use objects::ObjectStore;
pub use secrets::Secrets;
