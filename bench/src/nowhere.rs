//! CloudWatch Logs clients that run the whole SDK pipeline, signing included, up to the network.

use aws_sdk_cloudwatchlogs::Client;
use aws_sdk_cloudwatchlogs::types::InputLogEvent;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use batch_buffer::Event;

use logferry_aws::logs::CloudWatchLogs;

#[derive(Debug)]
struct Nowhere;

impl HttpConnector for Nowhere {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let is_signed = request.headers().get("authorization").is_some();
        let status = if is_signed { 200_u16 } else { 400 };
        let status = status.try_into().unwrap_or_else(|_| unreachable!("both are statuses"));
        HttpConnectorFuture::ready(Ok(HttpResponse::new(status, SdkBody::from("{}"))))
    }
}

/// A client that signs and does not connect.
fn client() -> Client {
    let http: SharedHttpClient = http_client_fn(|_, _| SharedHttpConnector::new(Nowhere));
    let config = aws_sdk_cloudwatchlogs::Config::builder()
        .behavior_version_latest()
        .region(aws_sdk_cloudwatchlogs::config::Region::new("eu-west-1"))
        .credentials_provider(aws_credential_types::Credentials::new("id", "secret", None, None, "bench"))
        .http_client(http);
    Client::from_conf(config.build())
}

/// The adapter that writes bodies directly.
pub(crate) fn direct() -> CloudWatchLogs {
    CloudWatchLogs::new(client(), None)
}

/// Requests from the SDK's own types.
#[derive(Debug)]
pub(crate) struct OwnTypes(Client);

impl OwnTypes {
    pub(crate) fn new() -> Self {
        Self(client())
    }

    /// Sends one request. Returns whether it was signed and sent.
    pub(crate) async fn send(&self, events: &[Event]) -> bool {
        let own = events.iter().map(|event| {
            InputLogEvent::builder().timestamp(event.timestamp_ms).message(event.message.clone()).build()
        });
        let own: Result<Vec<_>, _> = own.collect();
        let Ok(own) = own else { return false };
        let request = self.0.put_log_events().log_group_name("/g").log_stream_name("s");
        request.set_log_events(Some(own)).send().await.is_ok()
    }
}
