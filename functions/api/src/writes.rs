//! What every route that writes records shares: the request to the logbook, and its errors.

use http::StatusCode;
use logferry_core::logbook::new_entry::Invalid;
use logferry_core::logbook::write::{WriteError, WriteRequest};
use logferry_core::model::app::App;
use logferry_core::model::fault::Fault;
use logferry_service::http::ApiError;
use logferry_service::random;

use crate::{Api, Cloud};

impl<C: Cloud> Api<C> {
    /// A write to an app, without what its client says.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(crate) fn write_of<'a>(&'a self, app: &'a App, now_ms: i64) -> Result<WriteRequest<'a>, Fault> {
        let settings = &self.settings;
        let (redactor, quota) = (&settings.redactor, &settings.quota);
        Ok(WriteRequest::new(app, now_ms, random::bytes()?, settings.default_retention_days, redactor, quota))
    }
}

pub(crate) fn write_error(error: WriteError, now_ms: i64) -> ApiError {
    match error {
        WriteError::Invalid(bad) => invalid(&bad),
        WriteError::KeyReused => key_reused(),
        WriteError::OverQuota(exceeded) => ApiError::over_quota(&exceeded, now_ms),
        WriteError::Fault(fault) => fault.into(),
    }
}

pub(crate) fn key_reused() -> ApiError {
    ApiError::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "IDEMPOTENCY_KEY_REUSED",
        "this Idempotency-Key was used with another body",
    )
}

pub(crate) fn invalid(bad: &Invalid) -> ApiError {
    ApiError::bad_request(&bad.field, bad.message.clone())
}
