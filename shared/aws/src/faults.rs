//! Classifies SDK errors by what a caller can do.

use std::error::Error;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use logferry_core::model::fault::{Fault, FaultClass};

/// Returns the class of an AWS error code; `None` if the code does not determine it.
fn class_of_code(code: &str) -> Option<FaultClass> {
    // S3 forwards errors of KMS: `KMS.DisabledException`, `KMS.ThrottlingException`.
    if let Some(code) = code.strip_prefix("KMS.") {
        return Some(match class_of_code(code) {
            Some(class) if class.retryable() => class,
            _ => FaultClass::Denied,
        });
    }
    Some(match code {
        "ThrottlingException"
        | "Throttling"
        | "ThrottledException"
        | "ProvisionedThroughputExceededException"
        | "RequestLimitExceeded"
        | "TooManyRequestsException"
        | "LimitExceededException"
        | "SlowDown"
        | "TransactionInProgressException" => FaultClass::RateLimited,
        "InternalServerError"
        | "InternalError"
        | "InternalFailure"
        | "ServiceUnavailable"
        | "ServiceUnavailableException"
        | "TransactionConflictException"
        | "OperationAborted"
        | "OperationAbortedException" => FaultClass::Transient,
        // Credentials have expired: the next execution environment has new ones.
        "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" => FaultClass::Transient,
        // This environment's clock is wrong. The SDK corrects it from the response; the next environment
        // has another clock.
        "RequestTimeTooSkewed" => FaultClass::Transient,
        "RequestTimeout" | "RequestTimeoutException" => FaultClass::Timeout,
        "NoSuchKey"
        | "NoSuchVersion"
        | "NoSuchBucket"
        | "NoSuchUpload"
        | "NotFound"
        | "ResourceNotFoundException" => FaultClass::NotFound,
        "ConditionalCheckFailedException"
        | "PreconditionFailed"
        | "IdempotentParameterMismatchException"
        | "ResourceAlreadyExistsException" => FaultClass::Conflict,
        "AccessDenied"
        | "AccessDeniedException"
        | "UnrecognizedClientException"
        | "InvalidAccessKeyId"
        | "SignatureDoesNotMatch" => FaultClass::Denied,
        // S3 also returns these inside a 200.
        "EntityTooSmall" | "InvalidPart" | "InvalidPartOrder" | "InvalidRequest" | "MalformedXML" => {
            FaultClass::Permanent
        }
        _ => return None,
    })
}

fn class_of_status(status: u16) -> FaultClass {
    match status {
        // A success whose body cannot be read or is unknown: the result of the call is not known.
        ..300 => FaultClass::Transient,
        401 | 403 => FaultClass::Denied,
        404 => FaultClass::NotFound,
        409 | 412 => FaultClass::Conflict,
        429 => FaultClass::RateLimited,
        500.. => FaultClass::Transient,
        _ => FaultClass::Permanent,
    }
}

/// Returns the fault of a failed call. `operation` is the service's name for it.
pub fn fault<E>(operation: &'static str, error: SdkError<E, HttpResponse>) -> Fault
where
    E: Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    let (class, code) = match &error {
        SdkError::TimeoutError(_) => (FaultClass::Timeout, "timed out".to_owned()),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => {
            (FaultClass::Timeout, "timed out".to_owned())
        }
        SdkError::DispatchFailure(_) => (FaultClass::Transient, "connection failed".to_owned()),
        SdkError::ResponseError(_) => (FaultClass::Transient, "unreadable answer".to_owned()),
        SdkError::ServiceError(answer) => {
            let status = answer.raw().status().as_u16();
            let code = answer.err().code().unwrap_or("error without a code").to_owned();
            (class_of_code(&code).unwrap_or_else(|| class_of_status(status)), code)
        }
        _ => (FaultClass::Permanent, "the request could not be built".to_owned()),
    };
    Fault::new(class, operation, code).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_statuses_fall_into_classes() {
        assert_eq!(class_of_code("SlowDown"), Some(FaultClass::RateLimited));
        assert_eq!(class_of_code("NoSuchVersion"), Some(FaultClass::NotFound));
        assert_eq!(class_of_code("ExpiredToken"), Some(FaultClass::Transient));
        assert_eq!(class_of_code("ValidationException"), None);
        assert_eq!(class_of_code("RequestTimeTooSkewed"), Some(FaultClass::Transient));
        assert_eq!(class_of_code("KMS.ThrottlingException"), Some(FaultClass::RateLimited));
        for code in ["KMS.DisabledException", "KMS.NotFoundException", "KMS.KMSInvalidStateException"] {
            assert_eq!(class_of_code(code), Some(FaultClass::Denied), "{code}");
        }
        let classes = [200, 400, 403, 404, 412, 429, 500, 503].map(class_of_status);
        use FaultClass::{Conflict, Denied, NotFound, Permanent, RateLimited, Transient};
        assert_eq!(
            classes,
            [Transient, Permanent, Denied, NotFound, Conflict, RateLimited, Transient, Transient]
        );
    }
}
