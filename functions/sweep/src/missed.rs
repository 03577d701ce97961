//! Objects of which the ledger knows nothing: their event was lost before anybody wrote a row.
//!
//! Two kinds of looks, side by side. Keys of presigned uploads are in time order, so of each app's
//! folders of days only what came since the last look is read; the apps whose look has been due for
//! longest come first, so that all have their turn however little of them a run gets through. And the
//! whole of the log prefixes is gone through round after round, for keys of any other shape.

use std::sync::atomic::{AtomicU64, Ordering};

use futures::stream::{self, StreamExt};
use logferry_core::ledger::backlog::{Backlog, Starter};
use logferry_core::ledger::bucket::{Bookmark, Bookmarks, ListPosition, Listed, Listing};
use logferry_core::model::app::AppId;
use logferry_core::model::fault::{Fault, chain};
use logferry_core::model::object::ObjectRef;
use logferry_core::model::object_key::{CHIME_PREFIX, LOGS_PREFIX};
use logferry_core::model::time::{Day, MS_PER_DAY, MS_PER_HOUR};
use logferry_core::ports::apps::Apps;
use logferry_core::ports::clock::Clock;
use logferry_service::metrics::{Emission, SWEEP_ROUND_AGE};
use tokio::time::Instant;

/// Younger objects are left to their events and Lambda's retries (ms).
pub const SETTLE_MS: i64 = 15 * 60_000;
/// What was older when a round began is left alone: its row may have expired, and what was taken in must
/// not be again (ms). Rows stay for 90 days at least, and a round is far shorter than the difference.
pub const OLDEST_MS: i64 = 60 * MS_PER_DAY;
/// An app in whose folders nothing comes is looked at less and less often, down to this (ms): a list
/// costs 5 USD a million.
pub const LONGEST_PAUSE_MS: i64 = MS_PER_HOUR;
const SHORTEST_PAUSE_MS: i64 = 5 * 60_000;
/// A day's folder is left for the next day's so long after its end (ms): time for what was on its way.
const DAY_SETTLES_MS: i64 = MS_PER_HOUR;
/// A round over a prefix begins no sooner after the one before (ms).
pub const ROUND_EVERY_MS: i64 = MS_PER_HOUR;
/// Pages (of up to 1,000 objects) that one run reads of a round at least.
pub const PAGES_OF_ROUND: u32 = 4;
/// A round that has taken so long (ms) is read until the run's time is over, however many pages that is.
pub const HURRY_AFTER_MS: i64 = 12 * MS_PER_HOUR;
/// Apps looked at, and starts of ingest, at once.
const APPS_AT_ONCE: usize = 8;
const STARTS_AT_ONCE: usize = 16;

/// What is to be thought of an object in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// Its event may still be on its way.
    Fresh,
    /// It ought to be in the ledger.
    Due,
    TooOld,
}

/// Decides by the time of its upload, in a look that began at `began_ms`: who was young enough then does
/// not become too old unseen.
#[must_use]
pub fn age(last_modified_ms: i64, began_ms: i64, now_ms: i64) -> Age {
    if now_ms - last_modified_ms < SETTLE_MS {
        Age::Fresh
    } else if began_ms - last_modified_ms > OLDEST_MS {
        Age::TooOld
    } else {
        Age::Due
    }
}

/// What one run did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Found {
    /// Objects looked at.
    pub seen: u64,
    /// Objects that the ledger did not know, handed to `ingest`.
    pub started: u64,
    /// Apps whose folders were due, and those of them that were looked at.
    pub apps_due: u64,
    pub apps_seen: u64,
}

/// The look through the bucket, with what it talks to.
#[derive(Debug)]
pub struct Missed<K, I, B, A, S, C> {
    pub bucket: String,
    pub bookmarks: K,
    pub listing: I,
    pub backlog: B,
    pub apps: A,
    pub starter: S,
    pub clock: C,
    pub metrics_namespace: String,
}

/// Counts of looks that run side by side.
#[derive(Debug, Default)]
struct Tally {
    seen: AtomicU64,
    started: AtomicU64,
}

/// An app whose folders are due.
#[derive(Debug)]
struct DueApp {
    app_id: AppId,
    mark: Option<Bookmark>,
}

impl DueApp {
    /// An app that was never looked at has waited for longest.
    fn due_ms(&self) -> i64 {
        self.mark.as_ref().map_or(0, |mark| mark.due_ms)
    }
}

impl<K: Bookmarks, I: Listing, B: Backlog, A: Apps, S: Starter, C: Clock> Missed<K, I, B, A, S, C> {
    /// One run, which begins no further page after `until`.
    ///
    /// # Errors
    /// A call failed. What was looked at by then stays so, and one app's or prefix's failure stops no other.
    pub async fn run(&self, until: Instant) -> Result<Found, Fault> {
        let tally = Tally::default();
        let (days, logs, chime) = futures::future::join3(
            self.look_at_days(until, &tally),
            self.go_round(LOGS_PREFIX, until, &tally),
            self.go_round(CHIME_PREFIX, until, &tally),
        )
        .await;
        let round_ms = logs.0.max(chime.0);
        Emission::new(&self.metrics_namespace)
            .value(SWEEP_ROUND_AGE, round_ms.unsigned_abs() / 1000)
            .emit(self.clock.now_ms());
        let (apps_due, apps_seen) = days?;
        let found =
            Found { seen: tally.seen.into_inner(), started: tally.started.into_inner(), apps_due, apps_seen };
        tracing::info!(
            missed.seen = found.seen,
            missed.started = found.started,
            missed.apps_due = found.apps_due,
            missed.apps_seen = found.apps_seen,
            missed.round_ms = round_ms,
            "looked for missed objects"
        );
        logs.1.and(chime.1).map(|()| found)
    }

    /// Looks at the folders of all apps whose time has come, those that have waited for longest first.
    /// Returns how many were due, and how many of them were looked at.
    async fn look_at_days(&self, until: Instant, tally: &Tally) -> Result<(u64, u64), Fault> {
        let now_ms = self.clock.now_ms();
        let apps: Vec<_> = self.apps.list().await?.into_iter().map(|app| app.app_id).collect();
        let names: Vec<_> = apps.iter().map(days_name).collect();
        let marks = self.bookmarks.bookmarks(&names).await?;
        let apps = apps.into_iter().zip(marks).map(|(app_id, mark)| DueApp { app_id, mark });
        let mut due: Vec<_> = apps.filter(|app| app.due_ms() <= now_ms).collect();
        due.sort_unstable_by_key(DueApp::due_ms);

        let apps_due = due.len() as u64;
        let (mut apps_seen, mut failed) = (0, None);
        let mut looks = stream::iter(due)
            .take_while(|_| std::future::ready(Instant::now() < until))
            .map(|app| async move {
                let looked = self.look_at_app(&app, until, tally).await;
                (app.app_id, looked)
            })
            .buffer_unordered(APPS_AT_ONCE);
        while let Some((app_id, looked)) = looks.next().await {
            apps_seen += 1;
            if let Err(fault) = looked {
                tracing::warn!(app.id = %app_id, error.chain = %chain(&fault), "a folder was not looked through");
                failed = Some(fault);
            }
        }
        failed.map_or(Ok((apps_due, apps_seen)), Err)
    }

    /// Looks at what came into an app's folders since the last look, through all days up to today.
    async fn look_at_app(&self, app: &DueApp, until: Instant, tally: &Tally) -> Result<(), Fault> {
        let now_ms = self.clock.now_ms();
        let today = Day::of_ms(now_ms);
        let was_at = app.mark.as_ref().and_then(|mark| mark.at.clone());
        let oldest = Day::of_ms(now_ms - OLDEST_MS);
        let was_in = was_at.as_ref().and_then(|at| day_of(&app.app_id, &at.key));
        let mut day = was_in.unwrap_or(today.previous()).clamp(oldest, today);
        let mut at = was_at.filter(|_| was_in == Some(day));
        let (mut came, mut fresh_ms) = (false, None);
        while Instant::now() < until {
            let folder = folder(&app.app_id, day);
            let page = self.listing.list(&self.bucket, &folder, at.as_ref()).await?;
            // In time order, nothing behind a fresh one is older.
            let is_fresh = |listed: &Listed| age(listed.last_modified_ms, now_ms, now_ms) == Age::Fresh;
            let fresh = page.objects.iter().position(is_fresh);
            let looked = &page.objects[..fresh.unwrap_or(page.objects.len())];
            self.start_unknown(looked, now_ms, now_ms, tally).await?;
            came |= !looked.is_empty();
            at = looked.last().map(Listed::position).or(at);
            if let Some(fresh) = fresh {
                fresh_ms = Some(page.objects[fresh].last_modified_ms);
                break;
            }
            if page.next.is_some() {
                at = page.next;
            } else if day < today && now_ms > day.end_ms() + DAY_SETTLES_MS {
                (day, at) = (day.next(), None);
            } else {
                break;
            }
        }
        let began = ListPosition { key: folder(&app.app_id, day), version: None };
        let pause_ms = app.mark.as_ref().map_or(0, |mark| mark.due_ms - mark.began_ms);
        let due_ms = match fresh_ms {
            Some(fresh_ms) => fresh_ms + SETTLE_MS,
            None if came || Instant::now() >= until => now_ms,
            None => now_ms + (2 * pause_ms).clamp(SHORTEST_PAUSE_MS, LONGEST_PAUSE_MS),
        };
        let mark = Bookmark { at: Some(at.unwrap_or(began)), began_ms: now_ms, due_ms };
        self.bookmarks.set_bookmark(&days_name(&app.app_id), &mark, now_ms).await
    }

    /// Goes on with the round over a prefix, or begins the next one. Returns for how long the round has
    /// been under way or overdue (ms), and whether this went well.
    async fn go_round(&self, prefix: &str, until: Instant, tally: &Tally) -> (i64, Result<(), Fault>) {
        let now_ms = self.clock.now_ms();
        let names = [prefix.to_owned()];
        let mark = match self.bookmarks.bookmarks(&names).await {
            Ok(marks) => marks.into_iter().flatten().next(),
            Err(fault) => return (0, Err(fault)),
        };
        let mut mark = mark.unwrap_or(Bookmark { at: None, began_ms: now_ms, due_ms: now_ms });
        let age_ms = match mark.at {
            Some(_) => now_ms - mark.began_ms,
            None => now_ms - mark.due_ms,
        };
        if mark.at.is_none() {
            if mark.due_ms > now_ms {
                return (0, Ok(()));
            }
            mark.began_ms = now_ms;
        }
        (age_ms.max(0), self.read_round(prefix, mark, until, tally).await)
    }

    async fn read_round(
        &self,
        prefix: &str,
        mut mark: Bookmark,
        until: Instant,
        tally: &Tally,
    ) -> Result<(), Fault> {
        let began_ms = mark.began_ms;
        let hurry = self.clock.now_ms() - began_ms > HURRY_AFTER_MS;
        let mut pages = 0;
        while Instant::now() < until && (hurry || pages < PAGES_OF_ROUND) {
            pages += 1;
            let page = self.listing.list(&self.bucket, prefix, mark.at.as_ref()).await?;
            self.start_unknown(&page.objects, began_ms, self.clock.now_ms(), tally).await?;
            let through = page.next.is_none();
            mark.due_ms = if through { began_ms + ROUND_EVERY_MS } else { began_ms };
            mark.at = page.next;
            self.bookmarks.set_bookmark(prefix, &mark, self.clock.now_ms()).await?;
            if through {
                break;
            }
        }
        Ok(())
    }

    /// Starts ingest on those that are due and have no row. Its claim decides, so once more is no harm.
    async fn start_unknown(
        &self,
        listed: &[Listed],
        began_ms: i64,
        now_ms: i64,
        tally: &Tally,
    ) -> Result<(), Fault> {
        tally.seen.fetch_add(listed.len() as u64, Ordering::Relaxed);
        let due = listed.iter().filter(|listed| age(listed.last_modified_ms, began_ms, now_ms) == Age::Due);
        let objects: Vec<ObjectRef> = due.map(|listed| listed.object.clone()).collect();
        if objects.is_empty() {
            return Ok(());
        }
        let unknown = self.backlog.unknown(objects).await?;
        let mut starts = stream::iter(unknown)
            .map(|object| async move { self.starter.start(&object).await })
            .buffer_unordered(STARTS_AT_ONCE);
        let mut failed = Ok(());
        while let Some(started) = starts.next().await {
            match started {
                Ok(()) => drop(tally.started.fetch_add(1, Ordering::Relaxed)),
                Err(fault) => failed = Err(fault),
            }
        }
        failed
    }
}

/// The bookmark of an app's days; no prefix is called so.
fn days_name(app_id: &AppId) -> String {
    format!("days/{app_id}")
}

fn folder(app_id: &AppId, day: Day) -> String {
    format!("{LOGS_PREFIX}{app_id}/{}/", day.to_string().replace('-', "/"))
}

/// The day in whose folder of the app a key is.
fn day_of(app_id: &AppId, key: &str) -> Option<Day> {
    let rest = key.strip_prefix(LOGS_PREFIX)?.strip_prefix(app_id.as_str())?.strip_prefix('/')?;
    rest.get(..10)?.replace('/', "-").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_neither_fresh_nor_older_than_its_row_would_live_is_looked_up() {
        let now = 1_760_000_000_000;
        for (ago, expect) in [
            (-5, Age::Fresh),
            (0, Age::Fresh),
            (SETTLE_MS - 1, Age::Fresh),
            (SETTLE_MS, Age::Due),
            (OLDEST_MS, Age::Due),
            (OLDEST_MS + 1, Age::TooOld),
        ] {
            assert_eq!(age(now - ago, now, now), expect, "{ago} ms ago");
        }
    }

    #[test]
    fn what_was_young_enough_when_a_round_began_does_not_become_too_old_in_it() {
        let began = 1_760_000_000_000;
        assert_eq!(age(began - OLDEST_MS, began, began + 20 * MS_PER_DAY), Age::Due);
    }

    #[test]
    fn a_key_tells_its_day() {
        let app_id: AppId = "my-app".parse().unwrap();
        let day = Day::of_ms(1_760_000_000_000);
        assert_eq!(folder(&app_id, day), "logs/my-app/2025/10/09/");
        assert_eq!(day_of(&app_id, &folder(&app_id, day)), Some(day));
        assert_eq!(day_of(&app_id, "logs/my-app/2025/10/09/01ABC-x.gz"), Some(day));
        for other in ["logs/my-app/2025/10/9", "logs/other/2025/10/09/x", "logs/my-app/ü025/10/09/", ""] {
            assert_eq!(day_of(&app_id, other), None, "{other}");
        }
    }
}
