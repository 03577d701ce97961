//! Plans a run from the slot, the apps' checks and the states. Pure.

use logferry_core::model::app::App;
use logferry_health_checks::check::CheckKind;
use logferry_health_checks::guard::Policy;
use logferry_health_checks::redacted::stored_values;
use logferry_health_checks::register::{StoredCheck, stored_checks};
use logferry_health_checks::rows::{CheckKey, UrlState};
use logferry_health_checks::state::watched_since;

/// The work for one check.
#[derive(Debug, Clone, PartialEq)]
pub struct DueCheck {
    pub key: CheckKey,
    pub registered_ms: i64,
    pub check: StoredCheck,
    /// The state at the start of the run.
    pub state: UrlState,
    /// `false` if only an earlier change has to be notified.
    pub due: bool,
    /// How long it is overdue. A check that never ran is the most overdue.
    pub late_ms: i64,
    /// Position in the app's list.
    pub position: usize,
}

/// Returns the start of the slot of an event. It depends on the event's time only, so a repeated event has
/// the same slot.
#[must_use]
pub fn slot_of(event_ms: i64, schedule_ms: i64) -> i64 {
    let schedule_ms = schedule_ms.max(1);
    event_ms.div_euclid(schedule_ms) * schedule_ms
}

/// Whether an app has checks. Most apps have none, and nothing is read for them.
#[must_use]
pub fn is_watched(app: &App) -> bool {
    !stored_values(&app.health_checks).is_empty()
}

/// Returns the jobs of a slot for one app, given the app's states.
#[must_use]
pub fn jobs(app: &App, states: &[UrlState], policy: &Policy, slot_ms: i64) -> Vec<DueCheck> {
    stored_checks(&app.health_checks, policy)
        .into_iter()
        .enumerate()
        .filter(|(_, check)| !check.target.is_empty())
        .filter_map(|(position, check)| {
            let stored = states.iter().find(|state| state.target == check.target);
            let state = match stored {
                Some(state) if state.registered_ms == app.registered_ms => state.clone(),
                // The state of another app with the same id: overwritten, so its version is kept.
                Some(other) => UrlState {
                    version: other.version,
                    ..watched_since(&check.target, app.registered_ms, slot_ms)
                },
                None => watched_since(&check.target, app.registered_ms, slot_ms),
            };
            let interval_ms = interval_ms(&check);
            let due = is_due(state.last_slot_ms, interval_ms, slot_ms);
            let pending = state.pending.as_ref().is_some_and(|change| change.slot_ms < slot_ms);
            if !due && !pending {
                return None;
            }
            let late_ms = state
                .last_slot_ms
                .map_or(i64::MAX, |last| slot_ms.saturating_sub(last).saturating_sub(interval_ms));
            let key = CheckKey { app_id: app.app_id.clone(), target: check.target.clone() };
            Some(DueCheck { key, registered_ms: app.registered_ms, check, state, due, late_ms, position })
        })
        .collect()
}

fn interval_ms(check: &StoredCheck) -> i64 {
    let interval = match check.check.as_ref().map(|check| &check.kind) {
        Ok(CheckKind::Probe(probe)) => probe.interval_ms,
        Ok(CheckKind::Push { .. }) | Err(_) => None,
    };
    interval.and_then(|ms| i64::try_from(ms).ok()).unwrap_or(0)
}

/// Whether a new interval has started since the last counted slot. A slot that was counted, or an older
/// one, is never due.
fn is_due(last_slot_ms: Option<i64>, interval_ms: i64, slot_ms: i64) -> bool {
    match last_slot_ms {
        None => true,
        Some(last) if slot_ms <= last => false,
        Some(_) if interval_ms == 0 => true,
        Some(last) => slot_ms.div_euclid(interval_ms) > last.div_euclid(interval_ms),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use logferry_health_checks::rows::{Health, HealthChange};
    use serde_json::json;

    const MINUTE: i64 = 60_000;

    pub(crate) fn app(app_id: &str, checks: serde_json::Value) -> App {
        App {
            app_id: app_id.parse().unwrap(),
            name: app_id.to_string(),
            registered_ms: 7,
            retention_days: None,
            pruned_before_ms: None,
            flush: logferry_core::model::app::FlushSetting::default(),
            health_checks: checks,
            alerts: Vec::new(),
        }
    }

    pub(crate) fn jobs_at(app: &App, states: &[UrlState], slot_ms: i64) -> Vec<DueCheck> {
        jobs(app, states, &Policy::default(), slot_ms)
    }

    pub(crate) fn seen(target: &str, last_slot_ms: i64) -> UrlState {
        UrlState { last_slot_ms: Some(last_slot_ms), version: 3, ..watched_since(target, 7, 0) }
    }

    #[test]
    fn an_app_without_checks_is_not_watched() {
        for (checks, watched) in [
            (json!([]), false),
            (serde_json::Value::Null, false),
            (json!({"checks": [], "public_badges": true}), false),
            (json!(["https://a.example/"]), true),
            (json!({"checks": ["https://a.example/"], "public_badges": true}), true),
        ] {
            assert_eq!(is_watched(&app("shop", checks.clone())), watched, "{checks}");
        }
    }

    #[test]
    fn a_slot_begins_at_a_multiple_of_the_schedule() {
        assert_eq!(slot_of(1_700_000_123_456, 5 * MINUTE), 1_700_000_100_000);
        assert_eq!(slot_of(1_700_000_100_000, 5 * MINUTE), 1_700_000_100_000);
        assert_eq!(slot_of(1_700_000_399_999, 5 * MINUTE), 1_700_000_100_000);
    }

    #[test]
    fn a_slot_is_due_once_and_never_after_a_newer_one() {
        assert!(is_due(None, 0, 5) && is_due(Some(4), 0, 5));
        assert!(!is_due(Some(5), 0, 5) && !is_due(Some(6), 0, 5));
    }

    #[test]
    fn an_interval_skips_the_slots_inside_it_and_catches_up_after_a_missed_one() {
        let due: Vec<bool> = (0..8).map(|n| is_due(Some(0), 15 * MINUTE, n * 5 * MINUTE)).collect();
        assert_eq!(due, [false, false, false, true, true, true, true, true]);
        assert!(!is_due(Some(15 * MINUTE), 15 * MINUTE, 25 * MINUTE));
    }

    #[test]
    fn a_pending_change_is_notified_by_a_later_run_even_if_no_probe_is_due() {
        let app = app("shop", json!([{"url": "https://a.example/", "interval": "1h"}]));
        let mut state = seen("https://a.example/", 60 * MINUTE);
        state.pending = Some(HealthChange { from: Health::Up, to: Health::Down, slot_ms: 60 * MINUTE });
        let later = jobs(&app, &[state.clone()], &Policy::default(), 65 * MINUTE);
        assert_eq!(later.iter().map(|job| job.due).collect::<Vec<_>>(), [false]);
        assert_eq!(jobs(&app, &[state], &Policy::default(), 60 * MINUTE), []);
    }

    #[test]
    fn a_state_of_an_earlier_app_of_this_id_is_not_believed() {
        let old = UrlState { registered_ms: 3, health: Health::Down, ..seen("https://a.example/", 100) };
        let found = jobs(&app("shop", json!(["https://a.example/"])), &[old], &Policy::default(), 100);
        assert_eq!((found[0].state.health, found[0].state.version, found[0].due), (Health::Unknown, 3, true));
    }
}
