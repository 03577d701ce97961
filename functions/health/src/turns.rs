//! Chooses the next check, so that each app gets its share of a run however long the checks of others take.
//! Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use logferry_core::model::app::AppId;

use crate::due::DueCheck;

/// Jobs that have not started, by app. The next one is always of the app with the fewest running jobs, so
/// slow checks use slots of their own app only. Within an app, the most overdue comes first.
#[derive(Debug)]
pub struct Turns {
    apps: Vec<OfApp>,
    /// The place of each app in `apps`.
    places: BTreeMap<AppId, usize>,
    /// The apps with jobs, as `(under_way, begun, place)`; the first one is next.
    waiting: BTreeSet<(usize, usize, usize)>,
}

#[derive(Debug)]
struct OfApp {
    jobs: VecDeque<DueCheck>,
    under_way: usize,
    begun: usize,
}

impl Turns {
    /// Checks that a run skipped are the most overdue in the next run, and their app comes first.
    #[must_use]
    pub fn of(jobs: Vec<DueCheck>) -> Turns {
        let mut by_app = BTreeMap::<AppId, Vec<DueCheck>>::new();
        for job in jobs {
            by_app.entry(job.key.app_id.clone()).or_default().push(job);
        }
        let mut apps: Vec<(AppId, Vec<DueCheck>)> = by_app.into_iter().collect();
        for (_, jobs) in &mut apps {
            jobs.sort_by(|a, b| b.late_ms.cmp(&a.late_ms).then_with(|| a.key.cmp(&b.key)));
        }
        apps.sort_by_key(|(_, jobs)| std::cmp::Reverse(jobs.first().map(|job| job.late_ms)));
        Turns {
            waiting: (0..apps.len()).map(|place| (0, 0, place)).collect(),
            places: apps.iter().enumerate().map(|(place, (app_id, _))| (app_id.clone(), place)).collect(),
            apps: apps
                .into_iter()
                .map(|(_, jobs)| OfApp { jobs: jobs.into(), under_way: 0, begun: 0 })
                .collect(),
        }
    }

    /// Returns the next job to start. [`Turns::ended`] must be called when it ends.
    pub fn begin(&mut self) -> Option<DueCheck> {
        let (_, _, place) = self.waiting.pop_first()?;
        let app = self.apps.get_mut(place)?;
        let job = app.jobs.pop_front();
        app.under_way += 1;
        app.begun += 1;
        if !app.jobs.is_empty() {
            self.waiting.insert((app.under_way, app.begun, place));
        }
        job
    }

    /// Records that a job of this app has ended.
    pub fn ended(&mut self, app_id: &AppId) {
        let Some(place) = self.places.get(app_id).copied() else { return };
        let Some(app) = self.apps.get_mut(place) else { return };
        let waits = self.waiting.remove(&(app.under_way, app.begun, place));
        app.under_way = app.under_way.saturating_sub(1);
        if waits {
            self.waiting.insert((app.under_way, app.begun, place));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::due::tests::{app, jobs_at, seen};
    use serde_json::{Value, json};

    fn urls(app: &str, count: usize) -> Value {
        (0..count).map(|n| json!(format!("https://{app}.example/{n:03}"))).collect()
    }

    /// The apps of the next `count` jobs.
    fn next(turns: &mut Turns, count: usize) -> String {
        (0..count).map_while(|_| turns.begin()).map(|job| job.key.app_id.to_string()).collect()
    }

    #[test]
    fn apps_take_turns_and_none_waits_for_all_of_anothers_checks() {
        let mut jobs = jobs_at(&app("a", urls("a", 200)), &[], 0);
        jobs.extend(jobs_at(&app("b", urls("b", 3)), &[], 0));
        jobs.extend(jobs_at(&app("c", urls("c", 1)), &[], 0));
        let mut turns = Turns::of(jobs);
        assert_eq!(next(&mut turns, 9), "abcababaa");
    }

    #[test]
    fn an_app_whose_checks_do_not_end_keeps_no_place_that_another_can_use() {
        let mut jobs = jobs_at(&app("a", urls("a", 200)), &[], 0);
        jobs.extend(jobs_at(&app("b", urls("b", 100)), &[], 0));
        let mut turns = Turns::of(jobs);
        assert_eq!(next(&mut turns, 6), "ababab");
        // Checks of b end, checks of a hang: every free slot goes to b.
        for _ in 0..50 {
            turns.ended(&"b".parse().unwrap());
            assert_eq!(next(&mut turns, 1), "b");
        }
        turns.ended(&"a".parse().unwrap());
        assert_eq!(next(&mut turns, 1), "a");
    }

    #[test]
    fn of_more_apps_than_places_each_has_its_turn() {
        let names: Vec<String> = (0..60).map(|n| format!("app-{n:02}")).collect();
        let jobs = names.iter().flat_map(|name| jobs_at(&app(name, urls(name, 5)), &[], 0)).collect();
        let mut turns = Turns::of(jobs);
        let mut begun = Vec::new();
        for _ in 0..60 {
            let job = turns.begin().unwrap();
            turns.ended(&job.key.app_id);
            begun.push(job.key.app_id.to_string());
        }
        assert_eq!(begun, names);
    }

    #[test]
    fn what_was_skipped_or_never_ran_comes_first_and_so_does_its_app() {
        let minute = 60_000;
        let slot = 120 * minute;
        let on_time = app("a", json!(["https://a.example/"]));
        let late = app(
            "z",
            json!(["https://a.example/", "https://b.example/", "https://c.example/", {"url": "https://d.example/", "interval": "1h"}]),
        );
        let states = [
            seen("https://a.example/", slot - 5 * minute),
            seen("https://b.example/", slot - 10 * minute),
            seen("https://d.example/", slot - 60 * minute),
        ];
        let mut jobs = jobs_at(&on_time, &states[..1], slot);
        jobs.extend(jobs_at(&late, &states, slot));
        let mut turns = Turns::of(jobs);
        let order: Vec<String> = std::iter::from_fn(|| {
            let job = turns.begin()?;
            turns.ended(&job.key.app_id);
            Some(format!("{} {}", job.key.app_id, job.key.target))
        })
        .collect();
        let expect = [
            "z https://c.example/",
            "a https://a.example/",
            "z https://b.example/",
            "z https://a.example/",
            "z https://d.example/",
        ];
        assert_eq!(order, expect);
    }
}
