//! Configuration of `presign`, read from the environment.

use logferry_core::model::app::AppId;
use logferry_core::model::object_key::{AccountId, Region};
use logferry_core::model::quota;
use logferry_core::model::quota::Quota;
use logferry_service::config::{BadConfig, Reader};

use crate::content_type;

/// Default maximum size of a log file through a presigned URL (bytes).
const DEFAULT_MAX_PRESIGNED_BYTES: u64 = 10 * 1024 * 1024;

/// How join tokens are verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JoinVerification {
    /// A token that we signed.
    OwnTokens,
    /// The token that Amazon Chime issued to the attendee. The records belong to this app.
    Chime { app_id: AppId },
}

/// Limits of upload sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadLimits {
    /// Maximum size of a file (bytes); a token can set a lower limit.
    pub max_bytes: u64,
    /// Accepted content types, such as `video/mp4` or `video/*`; empty means all.
    pub content_types: Vec<String>,
    pub open_per_app: u32,
    pub open_per_subject: u32,
    /// Requests per app and minute; 0 means no limit, and no counting.
    pub requests_per_minute: u32,
    /// Lifetime of a session (s).
    pub session_secs: u32,
}

/// Limits of URLs for log files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLimits {
    /// URLs per app and minute; 0 means no limit, and no counting.
    pub per_minute: u32,
    /// URLs per holder (an API key or an attendee) and minute; 0 means no limit.
    pub per_minute_and_holder: u32,
    /// Whether uploads must declare their length, including sessions of large files.
    pub require_length: bool,
    /// Daily quota of an app.
    pub quota: Quota,
}

const DEFAULT_URLS_PER_MINUTE: u32 = 6_000;
const DEFAULT_URLS_PER_MINUTE_AND_HOLDER: u32 = 600;

impl LogLimits {
    fn read<L: Fn(&str) -> Option<String>>(read: &mut Reader<L>) -> Self {
        Self {
            per_minute: read.parsed_or("PRESIGNED_URLS_PER_MINUTE", DEFAULT_URLS_PER_MINUTE),
            per_minute_and_holder: read
                .parsed_or("PRESIGNED_URLS_PER_MINUTE_PER_TOKEN", DEFAULT_URLS_PER_MINUTE_AND_HOLDER),
            require_length: read.parsed_or("REQUIRE_CONTENT_LENGTH", false),
            quota: Quota::of(
                read.parsed_or("MAX_BYTES_PER_APP_DAY", quota::DEFAULT_BYTES),
                read.parsed_or("MAX_RECORDS_PER_APP_DAY", quota::DEFAULT_RECORDS),
                read.parsed_or("MAX_FILES_PER_APP_DAY", quota::DEFAULT_FILES),
            ),
        }
    }
}

impl Default for LogLimits {
    fn default() -> Self {
        Self::read(&mut Reader::new(|_| None))
    }
}

/// Default maximum size of an upload: the largest object in S3 (bytes).
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>
const DEFAULT_MAX_UPLOAD_BYTES: u64 = 5 * 1024 * 1024 * 1024 * 1024;
const DEFAULT_OPEN_PER_APP: u32 = 1_000;
const DEFAULT_OPEN_PER_SUBJECT: u32 = 50;
const DEFAULT_REQUESTS_PER_MINUTE: u32 = 3_000;
const DEFAULT_SESSION_DAYS: u32 = 7;

impl UploadLimits {
    fn read<L: Fn(&str) -> Option<String>>(read: &mut Reader<L>) -> Self {
        Self {
            max_bytes: read.parsed_or("MAX_UPLOAD_BYTES", DEFAULT_MAX_UPLOAD_BYTES),
            content_types: read.list("UPLOAD_CONTENT_TYPES"),
            open_per_app: read.parsed_or("MAX_OPEN_UPLOADS_PER_APP", DEFAULT_OPEN_PER_APP),
            open_per_subject: read.parsed_or("MAX_OPEN_UPLOADS_PER_SUBJECT", DEFAULT_OPEN_PER_SUBJECT),
            requests_per_minute: read.parsed_or("UPLOAD_REQUESTS_PER_MINUTE", DEFAULT_REQUESTS_PER_MINUTE),
            session_secs: read.parsed_or("UPLOAD_SESSION_DAYS", DEFAULT_SESSION_DAYS).saturating_mul(86_400),
        }
    }

    /// Whether a file of this type is accepted. Parameters such as `; charset=` are ignored. An invalid
    /// content type is never on a list.
    #[must_use]
    pub fn takes_type(&self, content_type: &str) -> bool {
        if self.content_types.is_empty() {
            return true;
        }
        let Some(essence) = content_type::essence(content_type) else { return false };
        self.content_types.iter().any(|taken| match taken.strip_suffix("/*") {
            Some("*") => true,
            Some(kind) => essence.split('/').next() == Some(kind),
            None => *taken == essence,
        })
    }
}

impl Default for UploadLimits {
    fn default() -> Self {
        Self::read(&mut Reader::new(|_| None))
    }
}

/// The environment of the function: table names, secrets and settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub table_apps: String,
    pub table_files: String,
    pub table_stats: String,
    pub table_uploads: String,
    pub bucket: String,
    pub token_secret: String,
    pub region: Region,
    pub account_id: AccountId,
    pub max_presigned_bytes: u64,
    pub join_verification: JoinVerification,
    pub limits: UploadLimits,
    pub log_limits: LogLimits,
    pub metrics_namespace: String,
}

impl Config {
    /// Reads the configuration.
    ///
    /// # Errors
    /// All missing and invalid variables, in one error.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, BadConfig> {
        let mut read = Reader::new(lookup);
        let table_apps = read.required("TABLE_APPS");
        let table_files = read.required("TABLE_FILES");
        let table_stats = read.required("TABLE_STATS");
        let table_uploads = read.required("TABLE_UPLOADS");
        let bucket = read.required("BUCKET");
        let token_secret = read.required("TOKEN_SECRET");
        let region = read.typed("AWS_REGION");
        let account_id = read.typed("ACCOUNT_ID");
        let max_presigned_bytes = read.parsed_or("MAX_PRESIGNED_BYTES", DEFAULT_MAX_PRESIGNED_BYTES);
        let join_verification = match read.optional("JOIN_VERIFIER").as_deref() {
            None | Some("token") => Some(JoinVerification::OwnTokens),
            Some("chime") => read.typed("CHIME_APP").map(|app_id| JoinVerification::Chime { app_id }),
            Some(_) => {
                read.problem("JOIN_VERIFIER is neither token nor chime");
                None
            }
        };
        let limits = UploadLimits::read(&mut read);
        let log_limits = LogLimits::read(&mut read);
        let metrics_namespace = read.optional("METRICS_NAMESPACE").unwrap_or_else(|| "Logferry".to_owned());
        let config =
            region.zip(account_id).zip(join_verification).map(|((region, account_id), join_verification)| {
                Self {
                    table_apps,
                    table_files,
                    table_stats,
                    table_uploads,
                    bucket,
                    token_secret,
                    region,
                    account_id,
                    max_presigned_bytes,
                    join_verification,
                    limits,
                    log_limits,
                    metrics_namespace,
                }
            });
        read.finish_typed(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(changes: &[(&str, &str)]) -> Result<Config, String> {
        let all = [
            ("TABLE_APPS", "apps"),
            ("TABLE_FILES", "files"),
            ("TABLE_STATS", "stats"),
            ("TABLE_UPLOADS", "uploads"),
            ("BUCKET", "bucket"),
            ("TOKEN_SECRET", "secret"),
            ("AWS_REGION", "eu-west-1"),
            ("ACCOUNT_ID", "123456789012"),
        ];
        let lookup = |name: &str| {
            changes.iter().chain(&all).find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        Config::from_lookup(lookup).map_err(|error| error.to_string())
    }

    #[test]
    fn all_that_is_wrong_is_reported_at_once() {
        assert_eq!(config(&[]).unwrap().max_presigned_bytes, 10_485_760);
        assert_eq!(
            config(&[("TABLE_APPS", ""), ("ACCOUNT_ID", "12"), ("JOIN_VERIFIER", "cognito")]),
            Err("configuration: TABLE_APPS is not set; ACCOUNT_ID: account must match ^[0-9]{12}$; \
                 JOIN_VERIFIER is neither token nor chime"
                .to_owned())
        );
    }

    #[test]
    fn chime_needs_the_app_that_its_records_belong_to() {
        assert_eq!(
            config(&[("JOIN_VERIFIER", "chime")]),
            Err("configuration: CHIME_APP is not set".to_owned())
        );
        let chime = config(&[("JOIN_VERIFIER", "chime"), ("CHIME_APP", "meetings")]).unwrap();
        let app_id = "meetings".parse().unwrap();
        assert_eq!(chime.join_verification, JoinVerification::Chime { app_id });
    }

    #[test]
    fn content_types_are_taken_by_name_or_by_kind() {
        let taking = |types: &[&str]| UploadLimits {
            content_types: types.iter().map(|text| (*text).to_owned()).collect(),
            ..UploadLimits::default()
        };
        assert!(taking(&[]).takes_type("anything"));
        assert!(taking(&["*/*"]).takes_type("a/b"));
        let some = taking(&["video/*", "application/pdf"]);
        assert!(some.takes_type("video/mp4") && some.takes_type("Application/PDF; charset=x"));
        assert!(!some.takes_type("image/png") && !some.takes_type("videos/x") && !some.takes_type(""));
        for two in ["video/mp4, text/html", "application/pdf;,text/html", "application/pdf;x=\",text/html\""]
        {
            assert!(!some.takes_type(two), "{two}");
        }
    }
}
