//! SDK clients: region, credentials and endpoints from Lambda's environment, one HTTP client for all.
//! Configuration files, profiles and the metadata service are not read: that would take longer than the
//! rest of the start.

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;

/// Amazon's own roots, which sign every AWS endpoint. Parsing the system's 144 roots at each cold start
/// takes longer than everything else. <https://www.amazontrust.com/repository/>
const ROOTS: [&str; 5] = [
    include_str!("../roots/amazon-root-ca-1.pem"),
    include_str!("../roots/amazon-root-ca-2.pem"),
    include_str!("../roots/amazon-root-ca-3.pem"),
    include_str!("../roots/amazon-root-ca-4.pem"),
    include_str!("../roots/starfield-services-root-certificate-authority-g2.pem"),
];

/// Attempts per call. Callers that must not give up earlier add their own retries.
const ATTEMPTS: u32 = 3;

/// Timeouts of a connection, and of an attempt.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why no client can be created.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadAwsEnv {
    #[error("{0} is not set")]
    Missing(&'static str),
    #[error("{0} is empty: unset it to use AWS itself")]
    EmptyEndpoint(String),
    #[error("the TLS roots cannot be parsed")]
    Tls,
}

/// The configuration of all clients. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AwsEnv {
    pub region: String,
    pub credentials: Credentials,
    http: SharedHttpClient,
    endpoint: Option<String>,
    service_endpoints: Vec<(&'static str, String)>,
}

/// The services' names in `AWS_ENDPOINT_URL_<NAME>`.
const SERVICES: [&str; 7] =
    ["CHIME_SDK_MEETINGS", "CLOUDWATCH_LOGS", "DYNAMODB", "LAMBDA", "S3", "SECRETS_MANAGER", "SNS"];

impl AwsEnv {
    /// Reads `AWS_REGION` (or `AWS_DEFAULT_REGION`), the `AWS_*` credentials, `AWS_ENDPOINT_URL` and
    /// `AWS_ENDPOINT_URL_<SERVICE>`.
    ///
    /// # Errors
    /// [`BadAwsEnv`] if one is missing, or an endpoint is set but empty.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, BadAwsEnv> {
        let present = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let endpoint = |name: String| match lookup(&name) {
            Some(url) if url.is_empty() => Err(BadAwsEnv::EmptyEndpoint(name)),
            url => Ok(url),
        };
        let region = present("AWS_REGION")
            .or_else(|| present("AWS_DEFAULT_REGION"))
            .ok_or(BadAwsEnv::Missing("AWS_REGION"))?;
        let credentials = Credentials::new(
            present("AWS_ACCESS_KEY_ID").ok_or(BadAwsEnv::Missing("AWS_ACCESS_KEY_ID"))?,
            present("AWS_SECRET_ACCESS_KEY").ok_or(BadAwsEnv::Missing("AWS_SECRET_ACCESS_KEY"))?,
            present("AWS_SESSION_TOKEN"),
            None,
            "environment",
        );
        let mut service_endpoints = Vec::new();
        for service in SERVICES {
            if let Some(url) = endpoint(format!("AWS_ENDPOINT_URL_{service}"))? {
                service_endpoints.push((service, url));
            }
        }
        Ok(Self {
            region,
            credentials,
            http: http_client()?,
            endpoint: endpoint("AWS_ENDPOINT_URL".to_owned())?,
            service_endpoints,
        })
    }

    /// Reads the process's environment.
    ///
    /// # Errors
    /// As [`AwsEnv::from_lookup`].
    pub fn from_environment() -> Result<Self, BadAwsEnv> {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// Returns the endpoint of a service, if it is not AWS itself. `service` as in
    /// `AWS_ENDPOINT_URL_<NAME>`.
    #[must_use]
    pub fn endpoint(&self, service: &str) -> Option<&str> {
        self.service_endpoints
            .iter()
            .find(|(name, _)| *name == service)
            .map(|(_, url)| url.as_str())
            .or(self.endpoint.as_deref())
    }
}

fn http_client() -> Result<SharedHttpClient, BadAwsEnv> {
    let mut store = TrustStore::empty();
    for root in ROOTS {
        store.add_pem_certificate(root);
    }
    let tls = TlsContext::builder().with_trust_store(store).build().map_err(|_| BadAwsEnv::Tls)?;
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(tls)
        .build_https();
    Ok(SharedHttpClient::new(BuiltAtFirstRequest(http)))
}

/// An HTTP client that skips the SDK's validation, which parses all roots once per SDK client, and drops
/// the result. They were a third of a function's own work at its start. The first request parses them.
#[derive(Debug)]
struct BuiltAtFirstRequest(SharedHttpClient);

impl HttpClient for BuiltAtFirstRequest {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        self.0.http_connector(settings, components)
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.0.connector_metadata()
    }
}

fn retries() -> RetryConfig {
    RetryConfig::standard().with_max_attempts(ATTEMPTS).with_max_backoff(Duration::from_secs(2))
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(ATTEMPT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .build()
}

macro_rules! client {
    ($feature:literal, $method:ident, $sdk:ident, $service:literal $(, $more:expr)?) => {
        #[cfg(feature = $feature)]
        impl AwsEnv {
            #[doc = concat!("A client of the SDK for `", $service, "`.")]
            #[must_use]
            pub fn $method(&self) -> $sdk::Client {
                let mut config = $sdk::Config::builder()
                    .behavior_version_latest()
                    .region($sdk::config::Region::new(self.region.clone()))
                    .credentials_provider(self.credentials.clone())
                    .http_client(self.http.clone())
                    .retry_config(retries())
                    .timeout_config(timeouts());
                if let Some(url) = self.endpoint($service) {
                    config = config.endpoint_url(url);
                }
                $(let config = $more(config);)?
                $sdk::Client::from_conf(config.build())
            }
        }
    };
}

client!("chime", chime, aws_sdk_chimesdkmeetings, "CHIME_SDK_MEETINGS");
client!("dynamodb", dynamodb, aws_sdk_dynamodb, "DYNAMODB");
client!("lambda", lambda, aws_sdk_lambda, "LAMBDA");
client!("logs", logs, aws_sdk_cloudwatchlogs, "CLOUDWATCH_LOGS");
client!("secrets", secrets, aws_sdk_secretsmanager, "SECRETS_MANAGER");
client!("sns", sns, aws_sdk_sns, "SNS");
client!("s3", s3, aws_sdk_s3, "S3", |config: aws_sdk_s3::config::Builder| {
    use aws_sdk_s3::config::{RequestChecksumCalculation, ResponseChecksumValidation};
    config
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
});

#[cfg(test)]
mod tests {
    use super::*;

    fn env(extra: &[(&str, &str)]) -> Result<AwsEnv, BadAwsEnv> {
        let mut all = vec![
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ACCESS_KEY_ID", "id"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
        ];
        all.extend_from_slice(extra);
        AwsEnv::from_lookup(|name| {
            all.iter().rev().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_service_has_its_own_endpoint_or_that_of_all_or_none() {
        let env = env(&[("AWS_ENDPOINT_URL", "http://all"), ("AWS_ENDPOINT_URL_S3", "http://s3")]).unwrap();
        assert_eq!(env.endpoint("S3"), Some("http://s3"));
        assert_eq!(env.endpoint("DYNAMODB"), Some("http://all"));
    }

    #[test]
    fn an_empty_endpoint_or_missing_region_is_an_error_and_not_a_panic_later() {
        assert_eq!(
            env(&[("AWS_ENDPOINT_URL", "")]).unwrap_err(),
            BadAwsEnv::EmptyEndpoint("AWS_ENDPOINT_URL".to_owned())
        );
        assert_eq!(env(&[("AWS_REGION", "")]).unwrap_err(), BadAwsEnv::Missing("AWS_REGION"));
    }
}
