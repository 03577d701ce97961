//! Finds objects without a ledger row: their event was lost before a row was written.
//!
//! Two kinds of listing run concurrently. (1) Keys of presigned uploads are in time order, so only the keys
//! added to each app's day folders since the last listing are read. The apps that have waited longest come
//! first, so every app gets its turn even if a run handles only a few. (2) Whole log prefixes are listed
//! round after round, for keys of any other shape.

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

use crate::Part;

/// Minimum age before an object counts as missed (ms). The event of a younger one may still be in Lambda's
/// retries.
pub const SETTLE_MS: i64 = 15 * 60_000;
/// Maximum age of an object when a round starts (ms). Older objects are skipped: their rows may have
/// expired, and ingested objects must not be ingested again. Rows are kept for at least 90 days, and a
/// round is far shorter than the difference.
pub const OLDEST_MS: i64 = 60 * MS_PER_DAY;
/// Maximum interval between listings of an app's folders (ms). The interval grows while no new objects
/// appear: a million list requests cost 5 USD.
pub const LONGEST_PAUSE_MS: i64 = MS_PER_HOUR;
const SHORTEST_PAUSE_MS: i64 = 5 * 60_000;
/// How long after the end of a day its folder is still listed (ms): time for uploads in progress.
const DAY_SETTLES_MS: i64 = MS_PER_HOUR;
/// Minimum time between the starts of two rounds over a prefix (ms).
pub const ROUND_EVERY_MS: i64 = MS_PER_HOUR;
/// Minimum number of pages (of up to 1,000 objects) of a round that a run reads.
pub const PAGES_OF_ROUND: u32 = 4;
/// Age of a round (ms) from which a run reads as many pages as its time allows.
pub const HURRY_AFTER_MS: i64 = 12 * MS_PER_HOUR;
/// Maximum number of apps listed, and of starts of `ingest`, in parallel.
const APPS_AT_ONCE: usize = 8;
const STARTS_AT_ONCE: usize = 16;

/// Whether a listed object counts as missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// Its event may still arrive.
    Fresh,
    /// It should be in the ledger.
    Due,
    TooOld,
}

/// Classifies an object by its upload time. `began_ms` is the start of the listing round: an object that
/// was young enough then does not become too old during the round.
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

/// Counts of one run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Found {
    /// Objects listed.
    pub seen: u64,
    /// Objects without a ledger row, passed to `ingest`.
    pub started: u64,
    /// Apps whose folders were due, and how many of them were listed.
    pub apps_due: u64,
    pub apps_seen: u64,
}

/// The search for missed objects, with its ports.
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

/// Counts of concurrent listings.
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
    /// An app that was never listed comes first.
    fn due_ms(&self) -> i64 {
        self.mark.as_ref().map_or(0, |mark| mark.due_ms)
    }
}

impl<K: Bookmarks, I: Listing, B: Backlog, A: Apps, S: Starter, C: Clock> Part for Missed<K, I, B, A, S, C> {
    type Done = Found;

    /// # Errors
    /// If a call failed. Finished listings keep their progress, and a failure of one app or prefix does not
    /// stop the others.
    async fn run(&self, until: Instant) -> Result<Found, Fault> {
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
}

impl<K: Bookmarks, I: Listing, B: Backlog, A: Apps, S: Starter, C: Clock> Missed<K, I, B, A, S, C> {
    /// Lists the folders of all due apps, those that have waited longest first. Returns how many apps were
    /// due, and how many of them were listed.
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
                tracing::warn!(app.id = %app_id, error.chain = %chain(&fault), "a folder could not be listed");
                failed = Some(fault);
            }
        }
        failed.map_or(Ok((apps_due, apps_seen)), Err)
    }

    /// Lists the objects that were added to an app's folders since the last listing, for all days up to
    /// today.
    async fn look_at_app(&self, app: &DueApp, until: Instant, tally: &Tally) -> Result<(), Fault> {
        let now_ms = self.clock.now_ms();
        let today = Day::of_ms(now_ms);
        let was_at = app.mark.as_ref().and_then(|mark| mark.at.clone());
        let oldest = Day::of_ms(now_ms - OLDEST_MS);
        let was_in = was_at.as_ref().and_then(|at| day_of(&app.app_id, &at.key));
        let mut day = was_in.unwrap_or(today.previous()).clamp(oldest, today);
        let mut at = was_at.filter(|_| was_in == Some(day));
        let (mut came, mut fresh_ms, mut failed) = (false, None, Ok(()));
        while Instant::now() < until {
            let folder = folder(&app.app_id, day);
            let page = match self.listing.list(&self.bucket, &folder, at.as_ref()).await {
                Ok(page) => page,
                Err(fault) => {
                    failed = Err(fault);
                    break;
                }
            };
            // Keys are in time order: no object after a fresh one is older.
            let is_fresh = |listed: &Listed| age(listed.last_modified_ms, now_ms, now_ms) == Age::Fresh;
            let fresh = page.objects.iter().position(is_fresh);
            let looked = &page.objects[..fresh.unwrap_or(page.objects.len())];
            failed = self.start_unknown(looked, now_ms, now_ms, tally).await;
            if failed.is_err() {
                break;
            }
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
            None if came || failed.is_err() || Instant::now() >= until => now_ms,
            None => now_ms + (2 * pause_ms).clamp(SHORTEST_PAUSE_MS, LONGEST_PAUSE_MS),
        };
        let mark = Bookmark { at: Some(at.unwrap_or(began)), began_ms: now_ms, due_ms };
        // Also after a failure: the pages before it are done.
        self.bookmarks.set_bookmark(&days_name(&app.app_id), &mark, now_ms).await.and(failed)
    }

    /// Continues the round over a prefix, or starts the next one. Returns how long the round has been
    /// running or overdue (ms), and whether the call succeeded.
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

    /// Starts `ingest` for due objects without a row. Starting one twice does no harm: the claim decides.
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

/// Name of the bookmark for an app's day folders. No prefix has this name.
fn days_name(app_id: &AppId) -> String {
    format!("days/{app_id}")
}

fn folder(app_id: &AppId, day: Day) -> String {
    format!("{LOGS_PREFIX}{app_id}/{}/", day.to_string().replace('-', "/"))
}

/// Returns the day of the app's folder that contains the key.
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
