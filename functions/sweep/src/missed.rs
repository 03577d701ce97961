//! Objects that the ledger does not know: their event was lost before anybody wrote a row.
//!
//! Two looks, each going on where the last run stopped. Keys of presigned uploads are in time order,
//! so of each app's folder of today and yesterday only what came since is read, for as many apps as
//! the run's pages do. And the whole of the log prefixes is gone through round and round, some pages
//! a run, for keys of any other shape.

use futures::StreamExt;
use logferry_domain::fault::{Fault, chain};
use logferry_domain::keys::{CHIME_PREFIX, LOGS_PREFIX};
use logferry_domain::object::ObjectRef;
use logferry_domain::time::Day;
use logferry_ports::bucket::{ListPosition, Listed};
use logferry_ports::{Apps, Bookmarks, Clock, Ledger, Listing, Starter};

/// Younger objects are left to their events and Lambda's retries (ms).
pub const SETTLE_MS: i64 = 15 * 60_000;
/// Older ones are left alone: their rows may have expired, and what was taken in must not be again
/// (ms). Rows stay for 90 days.
pub const OLDEST_MS: i64 = 30 * 86_400_000;
/// Pages (of up to 1,000 objects) that one run reads, of all folders of days and of the round trip.
pub const PAGES_OF_DAYS: u32 = 10;
pub const PAGES_OF_ROUND: u32 = 4;
/// Names the app whose folders the next run begins with; no prefix is called so.
const NEXT_APP: &str = "apps";
/// Rows looked up at once.
const LOOKUPS: usize = 16;

/// What is to be thought of an object in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// Its event may still be on its way.
    Fresh,
    /// It ought to be in the ledger.
    Due,
    TooOld,
}

/// Decides by the time of its upload.
#[must_use]
pub fn age(last_modified_ms: i64, now_ms: i64) -> Age {
    match now_ms - last_modified_ms {
        age if age < SETTLE_MS => Age::Fresh,
        age if age > OLDEST_MS => Age::TooOld,
        _ => Age::Due,
    }
}

/// What one run did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Found {
    /// Objects looked at.
    pub seen: u64,
    /// Objects that the ledger did not know, handed to `ingest`.
    pub started: u64,
}

/// The look through the bucket, with what it talks to.
#[derive(Debug)]
pub struct Missed<K, I, L, A, S, C> {
    pub bucket: String,
    pub bookmarks: K,
    pub listing: I,
    pub ledger: L,
    pub apps: A,
    pub starter: S,
    pub clock: C,
}

/// What becomes of a folder when its end is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AtEnd {
    /// New objects come behind it.
    Stay,
    Begin,
}

impl<K: Bookmarks, I: Listing, L: Ledger, A: Apps, S: Starter, C: Clock> Missed<K, I, L, A, S, C> {
    /// One run.
    ///
    /// # Errors
    /// A call failed. What was looked at by then stays so.
    pub async fn run(&self) -> Result<Found, Fault> {
        let now_ms = self.clock.now_ms();
        let mut found = Found::default();
        let today = Day::of_ms(now_ms);
        let mut pages = PAGES_OF_DAYS;
        let mut failed = None;
        let began = self.bookmarks.bookmark(NEXT_APP).await?;
        let mut apps = self.apps.list().await?;
        apps.sort_unstable_by(|a, b| a.app_id.cmp(&b.app_id));
        if let Some(first) = &began {
            let before = apps.partition_point(|app| app.app_id.as_str() < first.key.as_str());
            apps.rotate_left(before);
        }
        let mut next = None;
        for app in apps {
            if pages == 0 {
                next = Some(ListPosition { key: app.app_id.to_string(), version: None });
                break;
            }
            for day in [today.previous(), today] {
                let day = day.to_string().replace('-', "/");
                let folder = format!("{LOGS_PREFIX}{}/{day}/", app.app_id);
                if pages > 0
                    && let Err(fault) = self.look(&folder, AtEnd::Stay, &mut pages, &mut found, now_ms).await
                {
                    tracing::warn!(folder, error.chain = %chain(&fault), "a folder was not looked through");
                    failed = Some(fault);
                }
            }
        }
        if next != began {
            self.bookmarks.set_bookmark(NEXT_APP, next.as_ref(), now_ms).await?;
        }
        for prefix in [LOGS_PREFIX, CHIME_PREFIX] {
            self.look(prefix, AtEnd::Begin, &mut PAGES_OF_ROUND.clone(), &mut found, now_ms).await?;
        }
        tracing::info!(missed.seen = found.seen, missed.started = found.started, "looked for missed objects");
        failed.map_or(Ok(found), Err)
    }

    async fn look(
        &self,
        prefix: &str,
        at_end: AtEnd,
        pages: &mut u32,
        found: &mut Found,
        now_ms: i64,
    ) -> Result<(), Fault> {
        let mut at = self.bookmarks.bookmark(prefix).await?;
        let began = at.clone();
        while *pages > 0 {
            *pages -= 1;
            let page = self.listing.list(&self.bucket, prefix, at.as_ref()).await?;
            // In time order, nothing behind a fresh one is older; elsewhere it is met the next time.
            let fresh =
                page.objects.iter().position(|listed| age(listed.last_modified_ms, now_ms) == Age::Fresh);
            let stop = fresh.filter(|_| at_end == AtEnd::Stay);
            let looked = &page.objects[..stop.unwrap_or(page.objects.len())];
            self.start_unknown(looked, found, now_ms).await?;
            let last = looked.last().map(|last| ListPosition {
                key: last.object.key.clone(),
                version: Some(last.object.version.as_str().to_owned()),
            });
            if stop.is_some() || page.next.is_none() {
                at = match at_end {
                    AtEnd::Stay => last.or(at),
                    AtEnd::Begin => None,
                };
                break;
            }
            at = page.next;
        }
        if at == began {
            return Ok(());
        }
        self.bookmarks.set_bookmark(prefix, at.as_ref(), now_ms).await
    }

    /// Starts ingest on those that are due and have no row. Its claim decides, so once more is no harm.
    async fn start_unknown(&self, listed: &[Listed], found: &mut Found, now_ms: i64) -> Result<(), Fault> {
        found.seen += listed.len() as u64;
        let due = listed.iter().filter(|listed| age(listed.last_modified_ms, now_ms) == Age::Due);
        let objects: Vec<&ObjectRef> = due.map(|listed| &listed.object).collect();
        let mut rows = futures::stream::iter(objects)
            .map(|object| async move { (object, self.ledger.find(object).await) })
            .buffered(LOOKUPS);
        while let Some((object, row)) = rows.next().await {
            if row?.is_none() {
                self.starter.start(object).await?;
                found.started += 1;
            }
        }
        Ok(())
    }
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
            assert_eq!(age(now - ago, now), expect, "{ago} ms ago");
        }
    }
}
