//! Presigned URLs for log files, and multipart upload sessions. Authenticates the caller, records the owner
//! of the object, and only then signs.

mod companion;
mod config;
mod content_type;
mod field;
mod log_status;
mod log_upload;
mod metadata;
mod sender;
mod upload_list;
mod upload_session;
mod uploader;

use std::fmt;

use http::{Method, StatusCode};
use logferry_core::ledger::claim::Ledger;
use logferry_core::model::app::AppId;
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_core::model::object_key::{AccountId, Region};
use logferry_core::ports::apps::Apps;
use logferry_core::ports::secrets::Secrets;
use logferry_core::ports::usage::Usage;
use logferry_core::uploads::attendees::Attendees;
use logferry_core::uploads::table::{Multipart, Sessions};
use logferry_presigner::Presigner;
use logferry_service::http::{ApiError, Request, Response, unversioned};
use logferry_service::tokens::Tokens;
use ulid::Ulid;

pub use config::{Config, JoinVerification, LogLimits, UploadLimits};
pub use log_upload::{CONTENT_TYPE, EXPIRY_SECS};

/// The ports of presign.
pub trait World {
    type Apps: Apps;
    type Ledger: Ledger + Usage;
    type Secrets: Secrets;
    type Attendees: Attendees;
    type Sessions: Sessions;
    type Multipart: Multipart;
}

/// How join tokens are verified.
#[derive(Debug)]
pub enum JoinVerifier<C> {
    /// A token that we signed.
    OwnTokens,
    /// The token that Amazon Chime issued to the attendee. The records belong to this app.
    Chime { attendees: C, app_id: AppId },
}

/// The function with its ports, created once.
pub struct App<W: World> {
    pub apps: W::Apps,
    pub ledger: W::Ledger,
    pub tokens: Tokens<W::Secrets>,
    pub join_verifier: JoinVerifier<W::Attendees>,
    pub sessions: W::Sessions,
    pub multipart: W::Multipart,
    pub presigner: Presigner,
    pub region: Region,
    pub account_id: AccountId,
    /// Maximum size of a log file through a presigned URL (bytes).
    pub max_presigned_bytes: u64,
    pub limits: UploadLimits,
    pub log_limits: LogLimits,
}

impl<W: World> fmt::Debug for App<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("presigner", &self.presigner).finish_non_exhaustive()
    }
}

impl<W: World> App<W> {
    /// Handles one request. Every error is a response.
    pub async fn handle(&self, request: &Request, now_ms: i64) -> Response {
        if let Some(call) = companion::Call::of(request) {
            request.trail.takes(call.route());
            return Box::pin(self.companion(request, &call, now_ms)).await;
        }
        let path = unversioned(&request.path);
        if let Some(route) = ["/presigned-url", "/uploads"].into_iter().find(|route| *route == path) {
            request.trail.takes(route);
        }
        let answer = match (&request.method, path) {
            (&Method::POST, "/presigned-url") => Box::pin(self.presigned_url(request, now_ms)).await,
            (&Method::GET, "/presigned-url") => Box::pin(self.log_status(request, now_ms)).await,
            (_, "/presigned-url") => Err(method_not_allowed("POST and GET")),
            (&Method::GET, "/uploads") => Box::pin(self.list_uploads(request, now_ms)).await,
            (_, "/uploads") => Err(method_not_allowed("GET")),
            _ => Err(ApiError::not_found("no such path")),
        };
        answer.unwrap_or_else(Response::from)
    }
}

fn method_not_allowed(allowed: &str) -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "METHOD_NOT_ALLOWED",
        format!("this path supports {allowed}"),
    )
}

/// Generates a ULID of this time with the system's random numbers.
fn new_ulid(now_ms: i64) -> Result<Ulid, Fault> {
    let mut random = [0; 16];
    getrandom::fill(&mut random)
        .map_err(|error| Fault::new(FaultClass::Transient, "getrandom", error.to_string()))?;
    Ok(Ulid::from_parts(u64::try_from(now_ms).unwrap_or(0), u128::from_be_bytes(random)))
}
