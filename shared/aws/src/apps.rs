//! The `apps` table: one row per app, per key and per job.

use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeValue, ConditionCheck, Delete, Put as PutAction, ReturnValue, Update,
};
use futures::future::try_join_all;
use logferry_core::ledger::row::FileStatus;
use logferry_core::logfile::outcome::ReasonCode;
use logferry_core::model::alert::AlertRule;
use logferry_core::model::app::{App, AppId, FlushSetting, Scope};
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_core::model::ids::Seed;
use logferry_core::model::level::Level;
use logferry_core::ports::app_admin::{AppAdmin, AppChange, Job, JobKind, KeyAdded, RedriveJob, Registered};
use logferry_core::ports::apps::{Apps, KeyRow, Repeatable};
use tokio::time::Instant;

use crate::faults::fault;
use crate::item::{Get, Item, Put, b, key, malformed, n, s};
use crate::misses::Misses;
use crate::table::{Table, applied};
use crate::transact::{self, End, transact};

const APP_SK: &str = "app";
const KEY_SK: &str = "key";
const JOBS_PK: &str = "jobs";
const REDRIVES_PK: &str = "redrives";

/// Maximum attempts of a prune while other prunes of the app change what it has read.
const PRUNE_ATTEMPTS: u32 = 8;

/// Apps in a DynamoDB table.
#[derive(Debug, Clone)]
pub struct DynamoApps {
    pub(crate) table: Table,
    /// Key ids that were unknown a moment ago.
    unknown: Arc<Misses>,
}

pub(crate) fn app_key(app_id: &AppId) -> Item {
    key(format!("app#{app_id}"), APP_SK)
}

fn key_key(key_id: &str) -> Item {
    key(format!("key#{key_id}"), KEY_SK)
}

fn job_key(app_id: &AppId, registered_ms: i64, kind: JobKind) -> Item {
    key(JOBS_PK, format!("{app_id}#{registered_ms:013}#{}", kind.as_str()))
}

fn app_to_item(app: &App, key_ids: Vec<String>) -> Item {
    let mut item = app_key(&app.app_id);
    item.put("name", s(&app.name));
    item.put("created_ms", n(app.registered_ms));
    item.put_some("retention_days", app.retention_days.map(n));
    item.put_some("pruned_before_ms", app.pruned_before_ms.map(n));
    item.put("flush_enabled", AttributeValue::Bool(app.flush.enabled));
    item.put("flush_min_level", s(app.flush.min_level.as_str()));
    item.put("health_checks", s(app.health_checks.to_string()));
    item.put_some("alerts", alerts_to_text(&app.alerts).map(s));
    item.put("key_ids", AttributeValue::Ss(key_ids));
    item
}

/// `None` without any: the attribute is missing then, as in the items of versions without alerts.
fn alerts_to_text(alerts: &[AlertRule]) -> Option<String> {
    if alerts.is_empty() { None } else { serde_json::to_string(alerts).ok() }
}

fn app_from_item(item: &Item) -> Result<App, Fault> {
    let app_id = item.text("pk")?.strip_prefix("app#").and_then(|id| id.parse().ok());
    let health_checks = match item.text_opt("health_checks") {
        Some(json) => serde_json::from_str(json).map_err(|_| malformed("health_checks"))?,
        None => serde_json::Value::Array(Vec::new()),
    };
    let alerts = match item.text_opt("alerts") {
        Some(json) => serde_json::from_str(json).map_err(|_| malformed("alerts"))?,
        None => Vec::new(),
    };
    let enabled = item.get("flush_enabled").and_then(|flag| flag.as_bool().ok()).copied();
    let min_level = match item.text_opt("flush_min_level") {
        Some(level) => level.parse().map_err(|_| malformed("flush_min_level"))?,
        None => Level::default(),
    };
    Ok(App {
        app_id: app_id.ok_or_else(|| malformed("pk"))?,
        name: item.text("name")?.to_owned(),
        registered_ms: item.number("created_ms")?,
        retention_days: item.number_opt("retention_days"),
        pruned_before_ms: item.number_opt("pruned_before_ms"),
        flush: FlushSetting { enabled: enabled.unwrap_or(true), min_level },
        health_checks,
        alerts,
    })
}

fn key_to_item(row: &KeyRow) -> Item {
    let mut item = key_key(&row.key_id);
    item.put("app_id", s(row.app_id.as_str()));
    item.put("secret_hash", b(row.secret_hash.to_vec()));
    item.put_some("name", row.name.as_ref().map(s));
    let scopes = row.scopes.iter().map(|scope| scope.as_str().to_owned()).collect();
    item.put("scopes", AttributeValue::Ss(scopes));
    item.put_some("created_ms", row.created_ms.map(n));
    if let Some(Repeatable { nonce, body_hash }) = &row.repeatable {
        item.put("nonce", b(nonce.to_vec()));
        item.put("body_hash", b(body_hash.to_vec()));
    }
    item
}

fn key_from_item(item: &Item) -> Result<KeyRow, Fault> {
    let scopes = match item.get("scopes").and_then(|scopes| scopes.as_ss().ok()) {
        Some(scopes) => scopes.iter().map(|scope| scope.parse()).collect::<Result<_, _>>(),
        // Keys from before scopes existed have all scopes.
        None => Ok(Scope::ALL.into()),
    };
    let repeatable = match (bytes(item, "nonce"), bytes(item, "body_hash")) {
        (Some(nonce), Some(body_hash)) => Some(Repeatable { nonce, body_hash }),
        _ => None,
    };
    Ok(KeyRow {
        key_id: item.text("pk")?.strip_prefix("key#").ok_or_else(|| malformed("pk"))?.to_owned(),
        app_id: item.text("app_id")?.parse().map_err(|_| malformed("app_id"))?,
        secret_hash: bytes(item, "secret_hash").ok_or_else(|| malformed("secret_hash"))?,
        name: item.text_opt("name").map(str::to_owned),
        scopes: scopes.map_err(|_| malformed("scopes"))?,
        created_ms: item.number_opt("created_ms"),
        repeatable,
    })
}

fn bytes<const N: usize>(item: &Item, name: &str) -> Option<[u8; N]> {
    item.get(name)?.as_b().ok()?.as_ref().try_into().ok()
}

fn job_to_item(job: &Job) -> Item {
    let mut item = job_key(&job.app_id, job.registered_ms, job.kind);
    item.put("before_ms", n(job.before_ms));
    item.put_some("future_bound_ms", job.future_bound_ms.map(n));
    item.put("due_ms", n(job.due_ms));
    item.put("deleted", n(job.deleted));
    item.put("last_pass", AttributeValue::Bool(job.last_pass));
    item
}

fn job_from_item(item: &Item) -> Result<Job, Fault> {
    let mut parts = item.text("sk")?.split('#');
    let mut part = || parts.next().ok_or_else(|| malformed("sk"));
    Ok(Job {
        app_id: part()?.parse().map_err(|_| malformed("sk"))?,
        registered_ms: part()?.parse().map_err(|_| malformed("sk"))?,
        kind: JobKind::parse(part()?).ok_or_else(|| malformed("sk"))?,
        before_ms: item.number("before_ms")?,
        future_bound_ms: item.number_opt("future_bound_ms"),
        due_ms: item.number("due_ms")?,
        deleted: item.number("deleted")?,
        last_pass: item.get("last_pass").and_then(|flag| flag.as_bool().ok()).copied().unwrap_or(false),
    })
}

/// Requests with the same selection share a job.
fn redrive_key(job: &RedriveJob) -> Item {
    let app_id = job.app_id.as_ref().map_or("", AppId::as_str);
    let key_of_file = job.key.as_deref().unwrap_or_default();
    let reason = job.reason.map_or("", ReasonCode::as_str);
    let epoch = job.registered_ms.to_be_bytes();
    let parts = [app_id, key_of_file, job.status.as_str(), reason].map(str::as_bytes);
    let Seed(hash) = Seed::of(&[parts[0], parts[1], parts[2], parts[3], &epoch]);
    key(REDRIVES_PK, hex::encode(&hash[..16]))
}

fn redrive_to_item(job: &RedriveJob) -> Item {
    let mut item = redrive_key(job);
    item.put_some("app_id", job.app_id.as_ref().map(|app_id| s(app_id.as_str())));
    item.put("epoch_ms", n(job.registered_ms));
    item.put_some("key", job.key.as_deref().map(s));
    item.put("status", s(job.status.as_str()));
    item.put_some("reason", job.reason.map(|code| s(code.as_str())));
    item.put_some("after", job.after.as_deref().map(s));
    item.put("due_ms", n(job.due_ms));
    item
}

fn redrive_from_item(item: &Item) -> Result<RedriveJob, Fault> {
    let reason =
        item.text_opt("reason").map(|code| ReasonCode::parse(code).ok_or_else(|| malformed("reason")));
    Ok(RedriveJob {
        app_id: item.text_opt("app_id").map(|id| id.parse().map_err(|_| malformed("app_id"))).transpose()?,
        registered_ms: item.number("epoch_ms")?,
        key: item.text_opt("key").map(str::to_owned),
        status: FileStatus::parse(item.text("status")?).ok_or_else(|| malformed("status"))?,
        reason: reason.transpose()?,
        after: item.text_opt("after").map(str::to_owned),
        due_ms: item.number("due_ms")?,
    })
}

fn key_ids(item: &Item) -> Vec<String> {
    let mut ids = item.get("key_ids").and_then(|ids| ids.as_ss().ok()).cloned().unwrap_or_default();
    ids.sort_unstable();
    ids
}

impl DynamoApps {
    #[must_use]
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { table: Table::new(client, table), unknown: Arc::default() }
    }
}

impl Apps for DynamoApps {
    async fn find(&self, app_id: &AppId) -> Result<Option<App>, Fault> {
        self.table.get(app_key(app_id)).await?.as_ref().map(app_from_item).transpose()
    }

    async fn find_key(&self, key_id: &str) -> Result<Option<KeyRow>, Fault> {
        let now = Instant::now();
        if self.unknown.knows(key_id, now) {
            return Ok(None);
        }
        let row = self.find_key_now(key_id).await?;
        if row.is_none() {
            self.unknown.note(key_id, now);
        }
        Ok(row)
    }

    async fn list(&self) -> Result<Vec<App>, Fault> {
        let items = self
            .table
            .client
            .scan()
            .table_name(&self.table.name)
            .consistent_read(true)
            .filter_expression("sk = :app")
            .expression_attribute_values(":app", s(APP_SK))
            .into_paginator()
            .items()
            .send()
            .collect::<Result<Vec<_>, _>>()
            .await
            .map_err(|error| fault("Scan", error))?;
        let mut apps = items.iter().map(app_from_item).collect::<Result<Vec<_>, _>>()?;
        apps.sort_by(|a, b| a.app_id.cmp(&b.app_id));
        Ok(apps)
    }
}

impl AppAdmin for DynamoApps {
    async fn register(&self, app: &App, new_key: &KeyRow) -> Result<Registered, Fault> {
        let actions = [
            transact::put(
                PutAction::builder()
                    .table_name(&self.table.name)
                    .set_item(Some(app_to_item(app, vec![new_key.key_id.clone()])))
                    .condition_expression("attribute_not_exists(pk)"),
            )?,
            transact::check(
                ConditionCheck::builder()
                    .table_name(&self.table.name)
                    .set_key(Some(job_key(&app.app_id, app.registered_ms, JobKind::Delete)))
                    .condition_expression("attribute_not_exists(pk)"),
            )?,
            transact::put(
                PutAction::builder()
                    .table_name(&self.table.name)
                    .set_item(Some(key_to_item(new_key)))
                    .condition_expression("attribute_not_exists(pk)"),
            )?,
        ];
        match transact(&self.table.client, &actions).await? {
            End::Done => {
                self.unknown.forget(&new_key.key_id);
                Ok(Registered::Yes)
            }
            End::Condition(0) => Ok(Registered::Taken),
            End::Condition(1) => Ok(Registered::EpochInUse),
            End::Condition(_) => {
                Err(Fault::new(FaultClass::Transient, "register", "the key id is already used"))
            }
        }
    }

    async fn find_key_now(&self, key_id: &str) -> Result<Option<KeyRow>, Fault> {
        self.table.get(key_key(key_id)).await?.as_ref().map(key_from_item).transpose()
    }

    async fn keys(&self, app_id: &AppId) -> Result<Vec<KeyRow>, Fault> {
        let ids = self.table.get(app_key(app_id)).await?.as_ref().map(key_ids).unwrap_or_default();
        let rows = try_join_all(ids.iter().map(|id| self.find_key_now(id))).await?;
        // A key may have been revoked in between.
        Ok(rows.into_iter().flatten().collect())
    }

    async fn change(
        &self,
        app_id: &AppId,
        registered_ms: i64,
        change: &AppChange,
    ) -> Result<Option<App>, Fault> {
        let mut set = vec!["created_ms = :epoch"];
        let mut action = self
            .table
            .client
            .update_item()
            .table_name(&self.table.name)
            .set_key(Some(app_key(app_id)))
            .condition_expression("created_ms = :epoch")
            .expression_attribute_values(":epoch", n(registered_ms))
            .return_values(ReturnValue::AllNew);
        if let Some(name) = &change.name {
            set.push("#name = :name");
            action = action
                .expression_attribute_names("#name", "name")
                .expression_attribute_values(":name", s(name));
        }
        if let Some(Some(days)) = change.retention_days {
            set.push("retention_days = :days");
            action = action.expression_attribute_values(":days", n(days));
        }
        if let Some(flush) = change.flush {
            set.push("flush_enabled = :enabled, flush_min_level = :level");
            action = action
                .expression_attribute_values(":enabled", AttributeValue::Bool(flush.enabled))
                .expression_attribute_values(":level", s(flush.min_level.as_str()));
        }
        if let Some(checks) = &change.health_checks {
            set.push("health_checks = :checks");
            action = action.expression_attribute_values(":checks", s(checks.to_string()));
        }
        let remove = if change.retention_days == Some(None) { " REMOVE retention_days" } else { "" };
        let sent = action.update_expression(format!("SET {}{remove}", set.join(", "))).send().await;
        match sent.map_err(|error| fault("UpdateItem", error)) {
            Ok(answer) => answer.attributes.as_ref().map(app_from_item).transpose(),
            Err(fault) if fault.class == FaultClass::Conflict => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    async fn set_alerts(&self, app: &App, alerts: &[AlertRule]) -> Result<bool, Fault> {
        let update = self
            .table
            .client
            .update_item()
            .table_name(&self.table.name)
            .set_key(Some(app_key(&app.app_id)))
            .expression_attribute_values(":epoch", n(app.registered_ms));
        let update = match alerts_to_text(&app.alerts) {
            Some(was) => update
                .condition_expression("created_ms = :epoch AND alerts = :was")
                .expression_attribute_values(":was", s(was)),
            None => update.condition_expression("created_ms = :epoch AND attribute_not_exists(alerts)"),
        };
        let update = match alerts_to_text(alerts) {
            Some(now) => {
                update.update_expression("SET alerts = :now").expression_attribute_values(":now", s(now))
            }
            None => update.update_expression("REMOVE alerts"),
        };
        applied(update.send().await.map_err(|error| fault("UpdateItem", error)))
    }

    async fn add_key(&self, new_key: &KeyRow, registered_ms: i64, most: usize) -> Result<KeyAdded, Fault> {
        let actions = [
            transact::update(
                Update::builder()
                    .table_name(&self.table.name)
                    .set_key(Some(app_key(&new_key.app_id)))
                    .condition_expression(
                        "created_ms = :epoch AND (attribute_not_exists(key_ids) OR size(key_ids) < :most)",
                    )
                    .update_expression("ADD key_ids :id")
                    .expression_attribute_values(":epoch", n(registered_ms))
                    .expression_attribute_values(":most", n(most))
                    .expression_attribute_values(":id", AttributeValue::Ss(vec![new_key.key_id.clone()])),
            )?,
            transact::put(
                PutAction::builder()
                    .table_name(&self.table.name)
                    .set_item(Some(key_to_item(new_key)))
                    .condition_expression("attribute_not_exists(pk)"),
            )?,
        ];
        match transact(&self.table.client, &actions).await? {
            End::Done => {
                self.unknown.forget(&new_key.key_id);
                Ok(KeyAdded::Yes)
            }
            End::Condition(0) => {
                let app = self.find(&new_key.app_id).await?;
                let same = app.is_some_and(|app| app.registered_ms == registered_ms);
                Ok(if same { KeyAdded::TooMany } else { KeyAdded::NoApp })
            }
            End::Condition(_) => Ok(KeyAdded::IdTaken),
        }
    }

    async fn revoke_key(&self, app_id: &AppId, key_id: &str) -> Result<bool, Fault> {
        let actions = [
            transact::update(
                Update::builder()
                    .table_name(&self.table.name)
                    .set_key(Some(app_key(app_id)))
                    .condition_expression("contains(key_ids, :id)")
                    .update_expression("DELETE key_ids :ids")
                    .expression_attribute_values(":id", s(key_id))
                    .expression_attribute_values(":ids", AttributeValue::Ss(vec![key_id.to_owned()])),
            )?,
            transact::delete(Delete::builder().table_name(&self.table.name).set_key(Some(key_key(key_id))))?,
        ];
        Ok(transact(&self.table.client, &actions).await? == End::Done)
    }

    async fn delete(&self, app: &App, job: &Job) -> Result<bool, Fault> {
        // A key that is added meanwhile would be left over: read again.
        for _ in 0..4 {
            let Some(item) = self.table.get(app_key(&app.app_id)).await? else { return Ok(false) };
            if item.number::<i64>("created_ms")? != app.registered_ms {
                return Ok(false);
            }
            let ids = key_ids(&item);
            let condition = Delete::builder()
                .table_name(&self.table.name)
                .set_key(Some(app_key(&app.app_id)))
                .expression_attribute_values(":epoch", n(app.registered_ms));
            let mut actions = vec![transact::delete(if ids.is_empty() {
                condition.condition_expression("created_ms = :epoch AND attribute_not_exists(key_ids)")
            } else {
                condition
                    .condition_expression("created_ms = :epoch AND key_ids = :ids")
                    .expression_attribute_values(":ids", AttributeValue::Ss(ids.clone()))
            })?];
            for id in &ids {
                actions.push(transact::delete(
                    Delete::builder().table_name(&self.table.name).set_key(Some(key_key(id))),
                )?);
            }
            actions.push(transact::put(
                PutAction::builder().table_name(&self.table.name).set_item(Some(job_to_item(job))),
            )?);
            if transact(&self.table.client, &actions).await? == End::Done {
                return Ok(true);
            }
        }
        Err(Fault::new(FaultClass::Transient, "delete app", "the app's keys keep changing"))
    }

    async fn prune(&self, job: &Job) -> Result<Option<Job>, Fault> {
        let mut wanted = job.clone();
        // The watermark or the unfinished job may change meanwhile: read again.
        for _ in 0..PRUNE_ATTEMPTS {
            let unfinished = self.table.get(job_key(&job.app_id, job.registered_ms, job.kind)).await?;
            let unfinished = unfinished.as_ref().map(job_from_item).transpose()?;
            let bound_ms = unfinished.and_then(|job| job.open_bound_ms());
            let job = wanted.clone().in_place_of(bound_ms);
            let put = PutAction::builder().table_name(&self.table.name).set_item(Some(job_to_item(&job)));
            let actions = [
                transact::update(
                    Update::builder()
                        .table_name(&self.table.name)
                        .set_key(Some(app_key(&job.app_id)))
                        .condition_expression(
                            "created_ms = :epoch AND \
                             (attribute_not_exists(pruned_before_ms) OR pruned_before_ms <= :before)",
                        )
                        .update_expression("SET pruned_before_ms = :before")
                        .expression_attribute_values(":epoch", n(job.registered_ms))
                        .expression_attribute_values(":before", n(job.before_ms)),
                )?,
                transact::put(match bound_ms {
                    Some(bound_ms) => put
                        .condition_expression("future_bound_ms = :bound AND last_pass = :last_pass")
                        .expression_attribute_values(":bound", n(bound_ms))
                        .expression_attribute_values(":last_pass", AttributeValue::Bool(false)),
                    None => put
                        .condition_expression(
                            "attribute_not_exists(future_bound_ms) OR last_pass = :last_pass",
                        )
                        .expression_attribute_values(":last_pass", AttributeValue::Bool(true)),
                })?,
            ];
            match transact(&self.table.client, &actions).await? {
                End::Done => return Ok(Some(job)),
                End::Condition(0) => {
                    let app = self.find(&job.app_id).await?;
                    let app = app.filter(|app| app.registered_ms == job.registered_ms);
                    let Some(before_ms) = app.and_then(|app| app.pruned_before_ms) else { return Ok(None) };
                    wanted.before_ms = before_ms;
                    if wanted.future_bound_ms.is_none() {
                        return Ok(Some(wanted.in_place_of(bound_ms)));
                    }
                }
                End::Condition(_) => {}
            }
        }
        Err(Fault::new(FaultClass::Transient, "prune", "the app's watermark or its job keeps changing"))
    }

    async fn jobs(&self) -> Result<Vec<Job>, Fault> {
        let items = self.table.partition(JOBS_PK).await?;
        items.iter().map(job_from_item).collect()
    }

    async fn save_job(&self, job: &Job, was_due_ms: i64) -> Result<bool, Fault> {
        self.save_due(job_to_item(job), was_due_ms).await
    }

    async fn end_job(&self, job: &Job, was_due_ms: i64) -> Result<(), Fault> {
        self.end_due(job_key(&job.app_id, job.registered_ms, job.kind), was_due_ms).await
    }

    async fn leave_redrive(&self, job: &RedriveJob) -> Result<(), Fault> {
        let put = self.table.client.put_item().table_name(&self.table.name);
        let sent = put.set_item(Some(redrive_to_item(job))).send().await;
        sent.map_err(|error| fault("PutItem", error)).map(drop)
    }

    async fn redrives(&self) -> Result<Vec<RedriveJob>, Fault> {
        let items = self.table.partition(REDRIVES_PK).await?;
        items.iter().map(redrive_from_item).collect()
    }

    async fn save_redrive(&self, job: &RedriveJob, was_due_ms: i64) -> Result<bool, Fault> {
        self.save_due(redrive_to_item(job), was_due_ms).await
    }

    async fn end_redrive(&self, job: &RedriveJob, was_due_ms: i64) -> Result<(), Fault> {
        self.end_due(redrive_key(job), was_due_ms).await
    }
}

impl DynamoApps {
    /// Replaces the job that was due at `was_due_ms`; `false` if there is none.
    async fn save_due(&self, item: Item, was_due_ms: i64) -> Result<bool, Fault> {
        let sent = self
            .table
            .client
            .put_item()
            .table_name(&self.table.name)
            .set_item(Some(item))
            .condition_expression("due_ms = :due")
            .expression_attribute_values(":due", n(was_due_ms))
            .send()
            .await;
        applied(sent.map_err(|error| fault("PutItem", error)))
    }

    /// Deletes a job, if it is still the one that was due at `was_due_ms`.
    async fn end_due(&self, key: Item, was_due_ms: i64) -> Result<(), Fault> {
        let sent = self
            .table
            .client
            .delete_item()
            .table_name(&self.table.name)
            .set_key(Some(key))
            .condition_expression("due_ms = :due")
            .expression_attribute_values(":due", n(was_due_ms))
            .send()
            .await;
        applied(sent.map_err(|error| fault("DeleteItem", error))).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apps_keys_and_jobs_read_back_from_their_items() {
        let app = App {
            app_id: "my-app".parse().unwrap(),
            name: "My app ü".to_owned(),
            registered_ms: 1_743_532_441_581,
            retention_days: Some(7),
            pruned_before_ms: Some(5),
            flush: FlushSetting { enabled: false, min_level: Level::Warn },
            health_checks: serde_json::json!(["https://example.com/"]),
            alerts: Vec::new(),
        };
        let item = app_to_item(&app, vec!["b".to_owned(), "a".to_owned()]);
        assert_eq!(app_from_item(&item).unwrap(), app);
        assert_eq!(key_ids(&item), ["a", "b"]);
        let plain = KeyRow::with_all_scopes("0123", app.app_id.clone(), [3; 32]);
        let full = KeyRow {
            name: Some("the shipper ü".to_owned()),
            scopes: [Scope::Write].into(),
            created_ms: Some(7),
            repeatable: Some(Repeatable { nonce: [4; 16], body_hash: [5; 32] }),
            ..plain.clone()
        };
        for row in [&plain, &full] {
            assert_eq!(key_from_item(&key_to_item(row)).unwrap(), *row);
        }
        let mut of_old = key_to_item(&plain);
        of_old.remove("scopes");
        assert_eq!(key_from_item(&of_old).unwrap(), plain, "a key from before there were scopes");
        of_old.put("scopes", AttributeValue::Ss(vec!["everything".to_owned()]));
        assert!(key_from_item(&of_old).is_err());
        let job = Job {
            app_id: app.app_id,
            registered_ms: 5,
            kind: JobKind::Prune,
            before_ms: 6,
            future_bound_ms: Some(9),
            due_ms: 7,
            deleted: 8,
            last_pass: true,
        };
        assert_eq!(job_from_item(&job_to_item(&job)).unwrap(), job);
        let redrive = RedriveJob {
            app_id: Some(job.app_id),
            registered_ms: 5,
            key: Some("k".repeat(1_024)),
            status: FileStatus::Failed,
            reason: Some(ReasonCode::TooLarge),
            after: Some("[]".to_owned()),
            due_ms: 7,
        };
        assert_eq!(redrive_from_item(&redrive_to_item(&redrive)).unwrap(), redrive);
    }
}
