//! Presigned URLs for log files, and multipart upload sessions. The credential is checked and the owner of
//! the object is stored before anything is signed.

mod companion;
mod config;
mod content_type;
mod log_status;
mod log_upload;
mod metadata;
mod routes;
mod sender;
mod upload_list;
mod upload_session;
mod uploader;

use std::fmt;
use std::sync::Arc;

use logferry_core::ledger::grants::Grants;
use logferry_core::model::app::AppId;
use logferry_core::model::fault::Fault;
use logferry_core::model::object_key::{AccountId, Region};
use logferry_core::ports::apps::Apps;
use logferry_core::ports::secrets::Secrets;
use logferry_core::ports::usage::Usage;
use logferry_core::uploads::attendees::Attendees;
use logferry_core::uploads::table::{Multipart, Sessions};
use logferry_presigner::Presigner;
use logferry_service::door::Door;
use logferry_service::http::State;
use logferry_service::random;
use logferry_service::tokens::Tokens;
use ulid::Ulid;

pub use config::{Config, JoinVerification, LogLimits, UploadLimits};
pub use routes::routes;

/// What presign talks to.
pub trait World: Send + Sync + 'static {
    type Apps: Apps + 'static;
    type Grants: Grants + Usage + 'static;
    type Secrets: Secrets + 'static;
    type Attendees: Attendees + 'static;
    type Sessions: Sessions + 'static;
    type Multipart: Multipart + 'static;
}

/// How join tokens are verified.
#[derive(Debug)]
pub enum JoinVerifier<C> {
    /// It is a token that we signed.
    OwnTokens,
    /// It is the one that Amazon Chime gave the attendee; the records belong to this app.
    Chime { attendees: C, app_id: AppId },
}

/// Everything the function needs, made once.
pub struct Presign<W: World> {
    pub apps: W::Apps,
    pub grants: W::Grants,
    pub tokens: Tokens<W::Secrets>,
    pub join_verifier: JoinVerifier<W::Attendees>,
    pub sessions: W::Sessions,
    pub multipart: W::Multipart,
    pub presigner: Presigner,
    pub region: Region,
    pub account_id: AccountId,
    /// The largest log file through a presigned URL.
    pub max_presigned_bytes: u64,
    pub limits: UploadLimits,
    pub log_limits: LogLimits,
}

impl<W: World> fmt::Debug for Presign<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presign").field("presigner", &self.presigner).finish_non_exhaustive()
    }
}

/// The function, as handlers share it.
pub(crate) type Shared<W> = State<Arc<Presign<W>>>;

/// How a 401 says to authenticate: tokens open it as well.
const CHALLENGE: &str = r#"ApiKey realm="logferry", Bearer realm="logferry""#;

/// Returns the function with its door.
#[must_use]
pub fn door<W: World>(presign: Arc<Presign<W>>, metrics_namespace: &str) -> Door {
    Door::new("presign", CHALLENGE, metrics_namespace, routes::router(presign))
}

/// A ULID of this moment, from the system's randomness.
fn new_ulid(now_ms: i64) -> Result<Ulid, Fault> {
    Ok(Ulid::from_parts(u64::try_from(now_ms).unwrap_or(0), u128::from_be_bytes(random::bytes()?)))
}
