//! The list of routes, of which both the router and the OpenAPI document are made. A new route is a line
//! here, its handler, and a section of `docs/api.md`.

use std::sync::Arc;

use http::StatusCode;
use logferry_service::http::{Answer, ApiError, Document, Route, Router, Routes, ok, text};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::schema::{CheckRow, Record};
use crate::{
    Api, Cloud, alerts, apps, badges, console, counts, doors, erase, files, health, histogram, keys, logs,
    one_record, status, tokens, usage,
};

/// The OpenAPI document as it is served: `openapi.json`, which a test compares with what the routes of
/// all functions say, and writes.
pub const OPENAPI: &str = include_str!("../openapi.json");

#[derive(Debug, Serialize, ToSchema)]
struct About {
    #[schema(example = "logferry")]
    service: &'static str,
    version: &'static str,
}

#[derive(Debug, Serialize, ToSchema)]
struct Status {
    #[schema(example = "ok")]
    status: &'static str,
}

async fn about() -> Answer {
    let about = About { service: "logferry", version: env!("CARGO_PKG_VERSION") };
    Ok(doors::about(&json!({"ok": true, "data": about})))
}

async fn status() -> Answer {
    Ok(ok(&Status { status: "ok" }))
}

async fn openapi() -> Answer {
    Ok(text(StatusCode::OK, "application/json", OPENAPI.to_owned()))
}

/// Lists every route.
pub fn routes<C: Cloud, R: Routes<Arc<Api<C>>>>(into: R) -> R {
    const SERVICE: &str = "Service";
    const APPS: &str = "Apps";
    const RECORDS: &str = "Records";
    const ALERTS: &str = "Alerts";
    const HEALTH: &str = "Health checks";
    const FILES: &str = "Files";
    const CONSOLE: &str = "Console";
    let into = into
        .add(Route::get("/", "about", SERVICE).says("Name and version").data::<About>(), about)
        .add(Route::get("/health", "status", SERVICE).says("Status").data::<Status>(), status)
        .add(
            Route::get("/openapi.json", "openapi", SERVICE)
                .says("This document")
                .with(|operation| operation.answers(200, "OpenAPI 3.1", json!({"type": "object"}))),
            openapi,
        )
        .add(
            Route::post("/apps", "registerApp", APPS).says("Register an app").with(apps::registers),
            apps::register_app::<C>,
        )
        .add(
            Route::get("/apps", "listApps", APPS)
                .says("List app ids: all for the administration, an app its own")
                .with(apps::lists_ids),
            apps::list_apps::<C>,
        )
        .add(
            Route::get("/apps/{id}", "showApp", APPS).says("An app and its keys").data::<apps::Details>(),
            apps::show_app::<C>,
        )
        .add(
            Route::patch("/apps/{id}", "changeApp", APPS).says("Change settings").data::<apps::Details>(),
            apps::change_app::<C>,
        )
        .add(
            Route::delete("/apps/{id}", "deleteApp", APPS)
                .says("Delete an app: its records are gone for readers at once")
                .data::<apps::DeletedApp>()
                .with(|operation| {
                    operation.answers_data::<apps::DeletedApp>(
                        202,
                        "deleted; stored blocks are still being removed",
                    );
                }),
            apps::delete_app::<C>,
        )
        .add(
            Route::post("/apps/{id}/keys", "addKey", APPS).says("Mint a key").with(keys::mints),
            keys::add_key::<C>,
        )
        .add(
            Route::delete("/apps/{id}/keys/{key_id}", "revokeKey", APPS)
                .says("Revoke a key")
                .data::<keys::Deleted>()
                .with(keys::takes_key_id),
            keys::revoke_key::<C>,
        )
        .add(
            Route::post("/apps/{id}/join-tokens", "mintJoinToken", APPS)
                .says("A token with which an attendee's browser uploads logs")
                .data::<tokens::Token>(),
            tokens::mint_join_token::<C>,
        )
        .add(
            Route::post("/apps/{id}/upload-tokens", "mintUploadToken", APPS)
                .says("A token with which a subject uploads large files")
                .data::<tokens::Token>(),
            tokens::mint_upload_token::<C>,
        )
        .add(
            Route::post("/apps/{id}/view-tokens", "mintViewToken", APPS)
                .says("A token that reads what the app has, and changes nothing")
                .data::<tokens::Token>(),
            tokens::mint_view_token::<C>,
        )
        .add(
            Route::post("/apps/{id}/prune", "prune", APPS)
                .says("Delete records before a time")
                .data::<counts::Pruned>(),
            counts::prune::<C>,
        )
        .add(
            Route::post("/apps/{id}/erase", "eraseRecords", APPS)
                .says("Erase the records that match a filter")
                .with(erase::erases),
            erase::erase_records::<C>,
        )
        .add(
            Route::get("/apps/{id}/erase", "listErasures", APPS)
                .says("The unfinished erasures of an app, oldest first")
                .with(erase::lists),
            erase::list_erasures::<C>,
        )
        .add(
            Route::get("/apps/{id}/erase/{job}", "showErasure", APPS)
                .says("An erasure and its progress")
                .data::<erase::ShownErasure>()
                .with(erase::takes_job),
            erase::show_erasure::<C>,
        )
        .add(
            Route::post("/apps/{id}/alerts", "createAlert", ALERTS)
                .says("Be notified when many records match")
                .with(alerts::creates),
            alerts::create_alert::<C>,
        )
        .add(
            Route::get("/apps/{id}/alerts", "listAlerts", ALERTS)
                .says("Alerts with their states and history")
                .with(alerts::lists),
            alerts::list_alerts::<C>,
        )
        .add(
            Route::delete("/apps/{id}/alerts/{name}", "deleteAlert", ALERTS)
                .says("Delete an alert")
                .data::<keys::Deleted>()
                .with(alerts::takes_name),
            alerts::delete_alert::<C>,
        )
        .add(
            Route::post("/apps/{id}/health-urls", "setHealthUrls", HEALTH)
                .says("Set what is checked")
                .data::<apps::HealthSettings>(),
            apps::set_health_urls::<C>,
        )
        .add(
            Route::get("/apps/{id}/usage", "showUsage", APPS)
                .says("Bytes, records and files of today and of this month (UTC)")
                .data::<usage::AppUsage>(),
            usage::show_usage::<C>,
        )
        .add(
            Route::post("/logs", "writeLogs", RECORDS).says("Write records").with(logs::writes),
            logs::write_logs::<C>,
        )
        .add(
            Route::get("/logs", "queryLogs", RECORDS)
                .says("Query records, newest first")
                .list::<Record>()
                .with(logs::queries),
            logs::query_logs::<C>,
        )
        .add(
            Route::get("/logs/counts", "countLogs", RECORDS)
                .says("Records per bucket of time and level")
                .data::<histogram::Counts>()
                .with(histogram::counts),
            histogram::count_logs::<C>,
        )
        .add(
            Route::get("/logs/{record_id}", "showRecord", RECORDS)
                .says("A record by its id and time, with its neighbours")
                .with(one_record::shows),
            one_record::show_record::<C>,
        )
        .add(
            Route::get("/stats/{id}", "stats", RECORDS)
                .says("Records per day and level, today first")
                .with(counts::lists_days),
            counts::stats::<C>,
        )
        .add(
            Route::get("/health/{id}", "healthHistory", HEALTH)
                .says("Results, newest first")
                .list::<CheckRow>(),
            health::health_history::<C>,
        )
        .add(
            Route::get("/health/{id}/uptime", "healthUptime", HEALTH)
                .says("State and uptime of each check")
                .with(health::answers_array),
            health::health_uptime::<C>,
        )
        .add(
            Route::get("/health/{id}/response-times", "healthResponseTimes", HEALTH)
                .says("The series of one check")
                .with(health::answers_object),
            health::health_response_times::<C>,
        )
        .add(
            Route::get("/health/{id}/badges/{file}", "healthBadge", HEALTH)
                .says("A badge")
                .with(badges::badge),
            badges::health_badge::<C>,
        )
        .add(
            Route::get("/status/{id}", "statusPage", HEALTH)
                .says("The public status page of an app")
                .with(status::shows),
            status::status_page::<C>,
        )
        .add(
            Route::post("/health/{id}/{name}/push", "healthPush", HEALTH)
                .says("A job reports itself")
                .data::<CheckRow>()
                .with(health::takes_job),
            health::health_push::<C>,
        )
        .add(
            Route::get("/files", "listFiles", FILES)
                .says("Files of the ledger")
                .list::<files::File>()
                .with(files::names_app),
            files::list_files::<C>,
        )
        .add(
            Route::get("/files/quarantine", "listQuarantined", FILES)
                .says("The bad records of a file")
                .list::<files::BadRecords>()
                .with(files::names_app),
            files::list_quarantined::<C>,
        )
        .add(
            Route::post("/files/redrive", "redrive", FILES)
                .says("Read files again from their beginning")
                .data::<files::Redriven>()
                .with(files::redrives),
            files::redrive::<C>,
        )
        .add(
            Route::get("/console", "consoleAddress", CONSOLE)
                .says("To the console's page")
                .with(console::redirects),
            console::to_page::<C>,
        )
        .add(
            Route::get("/console/", "consolePage", CONSOLE)
                .says("The console's page")
                .with(console::shows_page),
            console::page::<C>,
        )
        .add(
            Route::get("/console/{file}", "consoleFile", CONSOLE)
                .says("A file of the console")
                .with(console::shows_file),
            console::file::<C>,
        );
    doors::routes::<C, R>(into)
}

pub(crate) fn router<C: Cloud>(api: Arc<Api<C>>) -> Router {
    let router = routes::<C, _>(Router::new());
    router.fallback(async || ApiError::not_found("no such path")).with_state(api)
}

/// The document of these routes and those of another function.
#[must_use]
pub fn document_of<C: Cloud>(others: Document) -> Value {
    let info = json!({
        "title": "Logferry", "version": env!("CARGO_PKG_VERSION"),
        "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        "description": "Apps and keys; write, query, stats, prune; health checks; files; uploads. \
                        `docs/api.md` has a curl for every route. HEAD is answered wherever GET is.",
    });
    let key = |name: &str, description: &str| json!({"type": "apiKey", "in": "header", "name": name, "description": description});
    let bearer = |description: &str| json!({"type": "http", "scheme": "bearer", "description": description});
    let schemes = json!({
        "apiKey": key("X-API-Key", "An app's key. The scopes that an operation needs stand beside it. It may be sent as `Authorization: Bearer`, or `Basic` with the key as password, instead."),
        "adminKey": key("X-Admin-Key", "The key of the administration."),
        "joinToken": bearer("From `POST /apps/{id}/join-tokens`, or Amazon Chime's join token."),
        "viewToken": bearer("From `POST /apps/{id}/view-tokens`: as a key with the scope `read` alone."),
        "uploadToken": bearer("From `POST /apps/{id}/upload-tokens`; in the path before `/s3` as well: `/t/{token}/s3/…`."),
    });
    let document = routes::<C, _>(Document::default()).and(others);
    let mut document = document.finish(
        info,
        schemes,
        &[
            "/openapi.json",
            "/presigned-url",
            "/s3/",
            "/console",
            "/status/",
            "/otlp/",
            "/loki/",
            "/_",
            "/{index}/",
            "/firehose",
        ],
    );
    let token =
        json!({"default": "TOKEN", "description": "An upload token, for clients that cannot send headers."});
    let with_token = json!({"url": "t/{token}", "variables": {"token": token}});
    for (path, item) in document["paths"].as_object_mut().into_iter().flatten() {
        if path.starts_with("/s3/")
            && let Some(servers) = item["servers"].as_array_mut()
        {
            servers.push(with_token.clone());
        }
    }
    document
}
