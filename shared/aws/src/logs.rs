//! CloudWatch Logs as the sender of the batch buffer.
//!
//! Requests use the SDK for signing, endpoint, connection, timeouts and error parsing. Two things differ.
//! The body is written directly from the events, not from the SDK's types (see `bench`). And the SDK does
//! not retry, because the batch buffer does: two retrying layers would multiply, and only one of them knows
//! the deadline.

use aws_sdk_cloudwatchlogs::Client;
use aws_sdk_cloudwatchlogs::config::retry::RetryConfig;
use aws_sdk_cloudwatchlogs::operation::put_log_events::{PutLogEventsError, PutLogEventsOutput};
use aws_sdk_cloudwatchlogs::types::LogGroupClass;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use batch_buffer::body::write_body;
use batch_buffer::{Accepted, ErrorClass, Rejected, Request, SendError, Sender};
use bytes::Bytes;
use logferry_core::model::fault::Fault;
use logferry_core::ports::log_groups::LogGroups;

use crate::faults::fault;

/// The retentions that CloudWatch Logs supports (days).
/// <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html>
const RETENTION_DAYS: [u32; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];

/// Returns the shortest retention that keeps events for at least this many days; `None` if there is none.
fn retention_of(days: u32) -> Option<u32> {
    RETENTION_DAYS.into_iter().find(|known| *known >= days)
}

/// Sends events to CloudWatch Logs.
#[derive(Debug, Clone)]
pub struct CloudWatchLogs {
    client: Client,
    class: Option<String>,
}

impl CloudWatchLogs {
    /// `class` is the class of created groups: `STANDARD` or `INFREQUENT_ACCESS`; `None` for the service's
    /// default.
    #[must_use]
    pub fn new(client: Client, class: Option<String>) -> Self {
        Self { client, class }
    }

    async fn create_group(&self, group: &str) -> Result<(), SendError> {
        let class = self.class.as_deref().map(LogGroupClass::from);
        let created = self
            .client
            .create_log_group()
            .log_group_name(group)
            .set_log_group_class(class)
            .customize()
            .config_override(once())
            .send()
            .await;
        exists(created.map_err(|error| send_error(&error)))
    }
}

fn once() -> aws_sdk_cloudwatchlogs::config::Builder {
    aws_sdk_cloudwatchlogs::Config::builder().retry_config(RetryConfig::disabled())
}

/// Another client created it first: counts as created.
fn exists<T>(created: Result<T, SendError>) -> Result<(), SendError> {
    match created {
        Err(error) if error.class != ErrorClass::ResourceAlreadyExists => Err(error),
        _ => Ok(()),
    }
}

impl Sender for CloudWatchLogs {
    async fn send(&self, request: Request) -> Result<Accepted, SendError> {
        let mut body = Vec::new();
        let token = request.sequence_token.as_deref();
        write_body(&mut body, &request.group, &request.stream, token, &request.events);
        let body = Bytes::from(body);
        let answer = self
            .client
            .put_log_events()
            .log_group_name(&*request.group)
            .log_stream_name(&*request.stream)
            .customize()
            .config_override(once())
            .mutate_request(move |http| {
                http.headers_mut().insert("content-length", body.len().to_string());
                *http.body_mut() = SdkBody::from(body.clone());
            })
            .send()
            .await;
        match answer {
            Ok(answer) => Ok(accepted(answer)),
            Err(error) => Err(put_error(&error)),
        }
    }

    async fn create(&self, group: &str, stream: &str) -> Result<(), SendError> {
        // Usually only the day's stream is missing.
        let create_stream = || {
            let call = self.client.create_log_stream().log_group_name(group).log_stream_name(stream);
            call.customize().config_override(once()).send()
        };
        match exists(create_stream().await.map_err(|error| send_error(&error))) {
            Err(error) if error.class == ErrorClass::ResourceNotFound => {
                self.create_group(group).await?;
                exists(create_stream().await.map_err(|error| send_error(&error)))
            }
            answer => answer,
        }
    }
}

impl LogGroups for CloudWatchLogs {
    async fn set_retention(&self, group: &str, days: u32) -> Result<(), Fault> {
        let Some(days) = retention_of(days) else { return Ok(()) };
        let call = self.client.put_retention_policy().log_group_name(group);
        let call = call.retention_in_days(i32::try_from(days).unwrap_or(i32::MAX));
        let answer = call.customize().config_override(once()).send().await;
        answer.map(|_| ()).map_err(|error| fault("PutRetentionPolicy", error))
    }
}

fn accepted(answer: PutLogEventsOutput) -> Accepted {
    let index = |index: Option<i32>| index.map(|index| usize::try_from(index).unwrap_or(0));
    let rejected = answer.rejected_log_events_info.map(|info| Rejected {
        too_new_from: index(info.too_new_log_event_start_index),
        too_old_until: index(info.too_old_log_event_end_index),
        expired_until: index(info.expired_log_event_end_index),
    });
    Accepted { next_sequence_token: answer.next_sequence_token, rejected }
}

fn put_error(error: &SdkError<PutLogEventsError, HttpResponse>) -> SendError {
    let expected = match error.as_service_error() {
        Some(PutLogEventsError::InvalidSequenceTokenException(error)) => {
            error.expected_sequence_token.clone()
        }
        Some(PutLogEventsError::DataAlreadyAcceptedException(error)) => error.expected_sequence_token.clone(),
        _ => None,
    };
    send_error(error).expecting(expected)
}

/// Classifies an error by its code, and if that is unknown by the status. The message is the service's own;
/// it names limits and resources, never events.
fn send_error<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> SendError {
    match error {
        SdkError::TimeoutError(_) => SendError::new(ErrorClass::RequestTimeout, "timed out"),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => {
            SendError::new(ErrorClass::RequestTimeout, "timed out")
        }
        SdkError::DispatchFailure(_) => SendError::new(ErrorClass::Connection, "connection failed"),
        SdkError::ResponseError(_) => SendError::new(ErrorClass::Connection, "unreadable answer"),
        SdkError::ServiceError(answer) => {
            let code = answer.err().code().unwrap_or("error without a code");
            let class = match (ErrorClass::from_code(code), answer.raw().status().as_u16()) {
                // A success that cannot be read: whether the events were accepted is not known.
                (ErrorClass::Other, ..300) => ErrorClass::Connection,
                (ErrorClass::Other, 429) => ErrorClass::Throttling,
                (ErrorClass::Other, 500..) => ErrorClass::InternalServerError,
                (ErrorClass::Other, 401 | 403) => ErrorClass::AccessDenied,
                (class, _) => class,
            };
            SendError::new(class, format!("{code}: {}", answer.err().message().unwrap_or_default()))
        }
        _ => SendError::new(ErrorClass::Other, "the request could not be built"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_groups_retention_is_the_shortest_that_is_long_enough() {
        let found = [1, 2, 7, 8, 90, 400, 3653].map(retention_of);
        assert_eq!(found, [1, 3, 7, 14, 90, 400, 3653].map(Some));
        assert_eq!(retention_of(3654), None);
    }
}
