//! The list of routes, of which both the router and the OpenAPI document are made.

use std::sync::Arc;

use http::StatusCode;
use logferry_service::http::{ApiError, Head, IntoResponse as _, Operation, Response, Route, Router, Routes};
use serde_json::json;

use crate::companion::Refusal;
use crate::log_status::FileState;
use crate::log_upload::Granted;
use crate::upload_list::Session;
use crate::{Presign, World, companion, log_status, log_upload, upload_list};

/// Lists every route.
pub fn routes<W: World, R: Routes<Arc<Presign<W>>>>(into: R) -> R {
    const LOGS: &str = "Uploading log files";
    const FILES: &str = "Uploading large files";
    let companion = |route: Route| route.with(companion_operation);
    into.add(
        Route::post("/presigned-url", "presignUrl", LOGS)
            .says("A URL that takes a log file")
            .plain::<Granted>()
            .with(takes_join_token),
        log_upload::presigned_url::<W>,
    )
    .add(
        Route::get("/presigned-url", "showGranted", LOGS)
            .says("What became of a file whose URL was handed out")
            .plain::<FileState>()
            .with(takes_join_token)
            .with(|operation| {
                operation.takes_query::<log_status::StatusQuery>();
                operation.errors.insert(404);
            }),
        log_status::log_status::<W>,
    )
    .add(
        Route::get("/uploads", "listUploads", FILES)
            .says("Sessions: all of the app, or the subject's own")
            .list::<Session>()
            .with(|operation| {
                takes_upload_token(operation, "read");
                operation.takes_query::<upload_list::ListQuery>();
            }),
        upload_list::list_uploads::<W>,
    )
    .add(
        companion(Route::get("/s3/params", "uploadForm", FILES).says("A form that takes one file"))
            .with(companion::takes_form_query),
        companion::upload_form::<W>,
    )
    .add(
        companion(Route::post("/s3/multipart", "createUpload", FILES).says("Begin a session"))
            .plain::<companion::Created>(),
        companion::create_upload::<W>,
    )
    .add(
        companion(Route::get("/s3/multipart/{uploadId}", "listParts", FILES).says("The parts that S3 has"))
            .with(companion::on_session)
            .with(companion::answers_parts),
        companion::list_parts::<W>,
    )
    .add(
        companion(Route::delete("/s3/multipart/{uploadId}", "abortUpload", FILES).says("Abort a session"))
            .with(companion::on_session)
            .with(|operation| {
                operation.answers(200, "aborted", json!({"type": "object"}));
                operation.errors.insert(409);
            }),
        companion::abort_upload::<W>,
    )
    .add(
        companion(
            Route::get("/s3/multipart/{uploadId}/batch", "signParts", FILES).says("URLs for several parts"),
        )
        .with(companion::on_session)
        .with(companion::takes_parts),
        companion::sign_parts::<W>,
    )
    .add(
        companion(
            Route::get("/s3/multipart/{uploadId}/{partNumber}", "signPart", FILES).says("A URL for one part"),
        )
        .with(companion::on_session)
        .with(companion::takes_part)
        .plain::<companion::SignedPart>(),
        companion::sign_part::<W>,
    )
    .add(
        companion(
            Route::post("/s3/multipart/{uploadId}/complete", "completeUpload", FILES)
                .says("Make the object of its parts"),
        )
        .with(companion::on_session)
        .plain::<companion::Completed>()
        .with(|operation| {
            operation.errors.insert(409);
        }),
        companion::complete_upload::<W>,
    )
}

fn takes_join_token(operation: &mut Operation) {
    operation.security.extend([json!({"apiKey": ["write"]}), json!({"joinToken": []})]);
    operation.errors.extend([400, 401, 403, 429, 503]);
}

fn takes_upload_token(operation: &mut Operation, scope: &str) {
    operation.security.extend([json!({"apiKey": [scope]}), json!({"uploadToken": []})]);
    operation.errors.extend([400, 401, 403, 429, 503]);
}

fn companion_operation(operation: &mut Operation) {
    takes_upload_token(operation, "write");
    operation.error_shape = companion::ERROR;
}

pub(crate) fn router<W: World>(presign: Arc<Presign<W>>) -> Router {
    routes::<W, _>(Router::new())
        .fallback(nothing)
        .method_not_allowed_fallback(other_method)
        .with_state(presign)
}

fn is_companions(head: &Head) -> bool {
    head.path.starts_with("/s3/")
}

async fn nothing(head: Head) -> Response {
    match is_companions(&head) {
        true => Refusal::new(StatusCode::NOT_FOUND, "no such route").into_response(),
        false => ApiError::not_found("no such path").into_response(),
    }
}

/// Of other paths than Companion's, the door says which methods there are.
async fn other_method(head: Head) -> Response {
    let status = StatusCode::METHOD_NOT_ALLOWED;
    match is_companions(&head) {
        true => Refusal::new(status, "this route has other methods").into_response(),
        false => status.into_response(),
    }
}
