//! Apps, their keys, and the jobs of removals.

use logferry_core::model::alert::AlertRule;
use logferry_core::model::app::{App, AppId};
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_core::ports::app_admin::{AppAdmin, AppChange, Job, JobKind, KeyAdded, RedriveJob, Registered};
use logferry_core::ports::apps::{Apps, KeyRow};

use super::{SimCloud, State, legal_key};

pub(super) type JobKey = (AppId, i64, JobKind);

/// The selection of a redrive.
pub(super) type RedriveKey = (Option<AppId>, i64, Option<String>, &'static str, Option<&'static str>);

fn redrive_key(job: &RedriveJob) -> RedriveKey {
    let reason = job.reason.map(|code| code.as_str());
    (job.app_id.clone(), job.registered_ms, job.key.clone(), job.status.as_str(), reason)
}

fn job_key(job: &Job) -> JobKey {
    (job.app_id.clone(), job.registered_ms, job.kind)
}

impl State {
    fn app_of_epoch(&mut self, app_id: &AppId, registered_ms: i64) -> Option<&mut App> {
        self.apps.get_mut(app_id).filter(|app| app.registered_ms == registered_ms)
    }

    fn keys_of(&self, app_id: &AppId) -> Vec<KeyRow> {
        self.keys.values().filter(|key| key.app_id == *app_id).cloned().collect()
    }
}

impl Apps for SimCloud {
    async fn find(&self, app_id: &AppId) -> Result<Option<App>, Fault> {
        self.call("GetItem", |state| Ok(state.apps.get(app_id).cloned())).await
    }

    async fn find_key(&self, key_id: &str) -> Result<Option<KeyRow>, Fault> {
        self.call("GetItem", |state| {
            legal_key(key_id)?;
            Ok(state.keys.get(key_id).cloned())
        })
        .await
    }

    async fn list(&self) -> Result<Vec<App>, Fault> {
        self.call("Scan", |state| Ok(state.apps.values().cloned().collect())).await
    }
}

impl AppAdmin for SimCloud {
    async fn register(&self, app: &App, key: &KeyRow) -> Result<Registered, Fault> {
        self.call("TransactWriteItems", |state| {
            if state.apps.contains_key(&app.app_id) {
                return Ok(Registered::Taken);
            }
            if state.jobs.contains_key(&(app.app_id.clone(), app.registered_ms, JobKind::Delete)) {
                return Ok(Registered::EpochInUse);
            }
            state.apps.insert(app.app_id.clone(), app.clone());
            state.keys.insert(key.key_id.clone(), key.clone());
            Ok(Registered::Yes)
        })
        .await
    }

    async fn find_key_now(&self, key_id: &str) -> Result<Option<KeyRow>, Fault> {
        self.find_key(key_id).await
    }

    async fn keys(&self, app_id: &AppId) -> Result<Vec<KeyRow>, Fault> {
        self.call("GetItem", |state| Ok(state.keys_of(app_id))).await
    }

    async fn change(
        &self,
        app_id: &AppId,
        registered_ms: i64,
        change: &AppChange,
    ) -> Result<Option<App>, Fault> {
        self.call("UpdateItem", |state| {
            let Some(app) = state.app_of_epoch(app_id, registered_ms) else { return Ok(None) };
            let AppChange { name, retention_days, flush, health_checks } = change.clone();
            app.name = name.unwrap_or_else(|| app.name.clone());
            app.retention_days = retention_days.unwrap_or(app.retention_days);
            app.flush = flush.unwrap_or(app.flush);
            app.health_checks = health_checks.unwrap_or_else(|| app.health_checks.clone());
            Ok(Some(app.clone()))
        })
        .await
    }

    async fn set_alerts(&self, app: &App, alerts: &[AlertRule]) -> Result<bool, Fault> {
        let set = self.call("UpdateItem", |state| {
            let Some(now) = state.app_of_epoch(&app.app_id, app.registered_ms) else { return Ok(false) };
            let same = now.alerts == app.alerts;
            if same {
                now.alerts = alerts.to_vec();
            }
            Ok(same)
        });
        match set.await {
            // As the adapter: also if the SDK has retried a write whose response was lost.
            Err(fault) if fault.class == FaultClass::Conflict => Ok(false),
            set => set,
        }
    }

    async fn add_key(&self, key: &KeyRow, registered_ms: i64, most: usize) -> Result<KeyAdded, Fault> {
        self.call("TransactWriteItems", |state| {
            if state.app_of_epoch(&key.app_id, registered_ms).is_none() {
                return Ok(KeyAdded::NoApp);
            }
            if state.keys_of(&key.app_id).len() >= most {
                return Ok(KeyAdded::TooMany);
            }
            if state.keys.contains_key(&key.key_id) {
                return Ok(KeyAdded::IdTaken);
            }
            state.keys.insert(key.key_id.clone(), key.clone());
            Ok(KeyAdded::Yes)
        })
        .await
    }

    async fn revoke_key(&self, app_id: &AppId, key_id: &str) -> Result<bool, Fault> {
        self.call("TransactWriteItems", |state| {
            legal_key(key_id)?;
            let own = state.keys.get(key_id).is_some_and(|key| key.app_id == *app_id);
            Ok(own && state.keys.remove(key_id).is_some())
        })
        .await
    }

    async fn delete(&self, app: &App, job: &Job) -> Result<bool, Fault> {
        self.call("TransactWriteItems", |state| {
            if state.app_of_epoch(&app.app_id, app.registered_ms).is_none() {
                return Ok(false);
            }
            state.apps.remove(&app.app_id);
            state.keys.retain(|_, key| key.app_id != app.app_id);
            state.jobs.insert(job_key(job), job.clone());
            Ok(true)
        })
        .await
    }

    async fn prune(&self, job: &Job) -> Result<Option<Job>, Fault> {
        self.call("TransactWriteItems", |state| {
            let Some(app) = state.app_of_epoch(&job.app_id, job.registered_ms) else { return Ok(None) };
            let is_lower = app.pruned_before_ms.is_some_and(|pruned| pruned > job.before_ms);
            let before_ms = app.pruned_before_ms.map_or(job.before_ms, |pruned| pruned.max(job.before_ms));
            app.pruned_before_ms = Some(before_ms);
            let open_bound_ms = state.jobs.get(&job_key(job)).and_then(Job::open_bound_ms);
            let stored = Job { before_ms, ..job.clone() }.in_place_of(open_bound_ms);
            if !is_lower || job.future_bound_ms.is_some() {
                state.jobs.insert(job_key(job), stored.clone());
            }
            Ok(Some(stored))
        })
        .await
    }

    async fn jobs(&self) -> Result<Vec<Job>, Fault> {
        self.call("Query", |state| Ok(state.jobs.values().cloned().collect())).await
    }

    async fn save_job(&self, job: &Job, was_due_ms: i64) -> Result<bool, Fault> {
        self.call("PutItem", |state| match state.jobs.get_mut(&job_key(job)) {
            Some(known) if known.due_ms == was_due_ms => {
                *known = job.clone();
                Ok(true)
            }
            _ => Ok(false),
        })
        .await
    }

    async fn end_job(&self, job: &Job, was_due_ms: i64) -> Result<(), Fault> {
        self.call("DeleteItem", |state| {
            if state.jobs.get(&job_key(job)).is_some_and(|known| known.due_ms == was_due_ms) {
                state.jobs.remove(&job_key(job));
            }
            Ok(())
        })
        .await
    }

    async fn leave_redrive(&self, job: &RedriveJob) -> Result<(), Fault> {
        self.call("PutItem", |state| {
            state.redrives.insert(redrive_key(job), job.clone());
            Ok(())
        })
        .await
    }

    async fn redrives(&self) -> Result<Vec<RedriveJob>, Fault> {
        self.call("Query", |state| Ok(state.redrives.values().cloned().collect())).await
    }

    async fn save_redrive(&self, job: &RedriveJob, was_due_ms: i64) -> Result<bool, Fault> {
        self.call("PutItem", |state| match state.redrives.get_mut(&redrive_key(job)) {
            Some(known) if known.due_ms == was_due_ms => {
                *known = job.clone();
                Ok(true)
            }
            _ => Ok(false),
        })
        .await
    }

    async fn end_redrive(&self, job: &RedriveJob, was_due_ms: i64) -> Result<(), Fault> {
        self.call("DeleteItem", |state| {
            if state.redrives.get(&redrive_key(job)).is_some_and(|known| known.due_ms == was_due_ms) {
                state.redrives.remove(&redrive_key(job));
            }
            Ok(())
        })
        .await
    }
}
