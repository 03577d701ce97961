//! State of a check: up, down or unknown, changed by N equal results in a row. Pure. A slot counts once,
//! and a slot older than the newest counted one changes nothing.

use crate::rows::{CheckRow, Health, HealthChange, RecentResult, UrlState};

/// Number of results in a notification.
pub const RECENT_RESULTS: usize = 5;

/// Failed conditions of a result that the state keeps, and bytes of each: a state is one item of at most
/// 400 KB, and the whole list is in the result's row.
pub const RECENT_CONDITIONS: usize = 3;
const RECENT_CONDITION_BYTES: usize = 400;

/// Number of equal results in a row that change the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    pub failures: u32,
    pub successes: u32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Thresholds { failures: 2, successes: 2 }
    }
}

/// Returns the state of a check without results.
pub fn watched_since(target: &str, registered_ms: i64, slot_ms: i64) -> UrlState {
    UrlState {
        target: target.to_string(),
        registered_ms,
        health: Health::Unknown,
        since_ms: slot_ms,
        ok_streak: 0,
        failure_streak: 0,
        last_slot_ms: None,
        recent: Vec::new(),
        pending: None,
        version: 0,
    }
}

/// Returns the state after a result; `None` if the result changes nothing (skipped, repeated or late).
/// Changes to be notified stay in `pending` until [`published`]: everything except unknown → up. A newer
/// change replaces an unpublished one, and a reverted change is discarded.
pub fn after(state: &UrlState, row: &CheckRow, thresholds: Thresholds) -> Option<UrlState> {
    if row.skipped || state.last_slot_ms.is_some_and(|last| row.slot_ms <= last) {
        return None;
    }
    let mut next = state.clone();
    next.last_slot_ms = Some(row.slot_ms);
    if row.ok {
        next.ok_streak = state.ok_streak.saturating_add(1);
        next.failure_streak = 0;
    } else {
        next.failure_streak = state.failure_streak.saturating_add(1);
        next.ok_streak = 0;
    }
    next.recent.push(RecentResult {
        slot_ms: row.slot_ms,
        ok: row.ok,
        status: row.status,
        latency_ms: row.latency_ms,
        error: row.error.clone(),
        failed_conditions: recent_conditions(row),
    });
    let surplus = next.recent.len().saturating_sub(RECENT_RESULTS);
    next.recent.drain(..surplus);

    let reached = if next.failure_streak >= thresholds.failures {
        Health::Down
    } else if next.ok_streak >= thresholds.successes {
        Health::Up
    } else {
        state.health
    };
    if reached != state.health {
        next.health = reached;
        next.since_ms = row.slot_ms;
        let last_published = state.pending.as_ref().map_or(state.health, |pending| pending.from);
        let is_notified =
            reached != last_published && !(last_published == Health::Unknown && reached == Health::Up);
        next.pending =
            is_notified.then_some(HealthChange { from: last_published, to: reached, slot_ms: row.slot_ms });
    }
    next.version = state.version.saturating_add(1);
    Some(next)
}

/// Returns the first failed conditions, and the number of further ones.
fn recent_conditions(row: &CheckRow) -> Vec<String> {
    let all = &row.failed_conditions;
    let cut = |text: &String| text.split_at(text.floor_char_boundary(RECENT_CONDITION_BYTES)).0.to_string();
    let more = all.len().saturating_sub(RECENT_CONDITIONS);
    let rest = (more > 0).then(|| format!("and {more} more"));
    all.iter().take(RECENT_CONDITIONS).map(cut).chain(rest).collect()
}

/// Returns the state after its pending change was published.
pub fn published(state: &UrlState) -> UrlState {
    UrlState { pending: None, version: state.version.saturating_add(1), ..state.clone() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::rows::CheckKey;

    fn row(slot_ms: i64, ok: bool) -> CheckRow {
        CheckRow {
            key: CheckKey { app_id: "shop".parse().unwrap(), target: "https://shop.example/".to_string() },
            slot_ms,
            registered_ms: 0,
            status: if ok { 200 } else { 500 },
            latency_ms: 10,
            ok,
            skipped: false,
            error: None,
            failed_conditions: Vec::new(),
            redirect_to: None,
            certificate_expires_ms: None,
            checked_at_ms: slot_ms,
        }
    }

    /// Results as `+` and `-`, one per slot. Returns the changes that would be published, as
    /// `slot:from>to`.
    fn notified(results: &str, thresholds: Thresholds) -> String {
        let mut state = watched_since("https://shop.example/", 0, 0);
        let mut notified = Vec::new();
        for (slot, result) in (0..).zip(results.chars()) {
            state = after(&state, &row(slot, result == '+'), thresholds).unwrap();
            if let Some(change) = &state.pending {
                notified.push(format!("{}:{}>{}", change.slot_ms, change.from.as_str(), change.to.as_str()));
                state = published(&state);
            }
        }
        notified.join(" ")
    }

    #[test]
    fn a_change_is_notified_once_after_the_threshold_and_flapping_is_not() {
        let two = Thresholds::default();
        for (results, expect) in [
            ("", ""),
            ("++++", ""),
            ("-", ""),
            ("--", "1:unknown>down"),
            ("------", "1:unknown>down"),
            ("++--", "3:up>down"),
            ("++--++", "3:up>down 5:down>up"),
            ("++-+-+-+-+", ""),
            ("++--+-+-+-", "3:up>down"),
            ("++--+-++", "3:up>down 7:down>up"),
            ("-+-+", ""),
            ("++--++--++", "3:up>down 5:down>up 7:up>down 9:down>up"),
        ] {
            assert_eq!(notified(results, two), expect, "{results}");
        }
    }

    #[test]
    fn thresholds_are_the_checks_own() {
        assert_eq!(
            notified("+-+-", Thresholds { failures: 1, successes: 1 }),
            "1:up>down 2:down>up 3:up>down"
        );
        assert_eq!(notified("+++--", Thresholds { failures: 3, successes: 1 }), "");
        assert_eq!(notified("+++---+", Thresholds { failures: 3, successes: 1 }), "5:up>down 6:down>up");
    }

    #[test]
    fn a_repeated_or_late_slot_changes_nothing() {
        let state = after(&watched_since("u", 0, 0), &row(10, false), Thresholds::default()).unwrap();
        assert_eq!(after(&state, &row(10, false), Thresholds::default()), None);
        assert_eq!(after(&state, &row(5, false), Thresholds::default()), None);
    }

    #[test]
    fn a_skipped_slot_says_nothing() {
        let skipped = CheckRow { skipped: true, ..row(1, false) };
        assert_eq!(after(&watched_since("u", 0, 0), &skipped, Thresholds::default()), None);
    }

    #[test]
    fn a_change_reverted_before_its_notification_is_discarded() {
        let one = Thresholds { failures: 1, successes: 1 };
        let up = after(&watched_since("u", 0, 0), &row(0, true), one).unwrap();
        let down = after(&up, &row(1, false), one).unwrap();
        assert!(down.pending.is_some());
        assert_eq!(after(&down, &row(2, true), one).unwrap().pending, None);
    }

    #[test]
    fn a_state_stays_far_below_what_an_item_holds_whatever_its_results_say() {
        let failed_conditions = vec!["\u{1}".repeat(2_000); 20];
        let mut state = watched_since("u", 0, 0);
        for slot in 0..8 {
            let result = CheckRow { failed_conditions: failed_conditions.clone(), ..row(slot, false) };
            state = after(&state, &result, Thresholds::default()).unwrap();
        }
        assert_eq!(state.recent[0].failed_conditions.len(), 4);
        assert_eq!(state.recent[0].failed_conditions[3], "and 17 more");
        assert!(serde_json::to_string(&state).unwrap().len() < 50_000);
    }

    #[test]
    fn the_last_results_are_kept_for_the_message() {
        let mut state = watched_since("u", 0, 0);
        for slot in 0..8 {
            state = after(&state, &row(slot, false), Thresholds::default()).unwrap();
        }
        assert_eq!(state.recent.iter().map(|r| r.slot_ms).collect::<Vec<_>>(), [3, 4, 5, 6, 7]);
        assert_eq!(state.version, 8);
    }
}
