//! What presign reads from its environment.

use logferry_domain::app::AppId;
use logferry_domain::keys::{AccountId, Region};
use logferry_service::config::{BadConfig, Reader};

/// The largest log file through a presigned URL, where the environment does not say (bytes).
const DEFAULT_MAX_PRESIGNED_BYTES: u64 = 10 * 1024 * 1024;

/// Who says whether a join token is genuine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JoinVerification {
    /// It is a token that we signed.
    OwnTokens,
    /// It is the one that Amazon Chime gave the attendee; the records belong to this app.
    Chime { app_id: AppId },
}

/// The configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub table_apps: String,
    pub table_files: String,
    pub bucket: String,
    pub token_secret: String,
    pub region: Region,
    pub account_id: AccountId,
    pub max_presigned_bytes: u64,
    pub join_verification: JoinVerification,
    pub metrics_namespace: String,
}

impl Config {
    /// Reads the configuration.
    ///
    /// # Errors
    /// All that is missing or wrong, at once.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, BadConfig> {
        let mut read = Reader::new(lookup);
        let table_apps = read.required("TABLE_APPS");
        let table_files = read.required("TABLE_FILES");
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
        let metrics_namespace = read.optional("METRICS_NAMESPACE").unwrap_or_else(|| "Logferry".to_owned());
        let config =
            region.zip(account_id).zip(join_verification).map(|((region, account_id), join_verification)| {
                Self {
                    table_apps,
                    table_files,
                    bucket,
                    token_secret,
                    region,
                    account_id,
                    max_presigned_bytes,
                    join_verification,
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
}
