//! Decides what `sweep` does with a due row. Pure.

use logferry_core::ledger::row::{Claimable, FileRow, FileStatus, MAX_ATTEMPTS};

/// How long after the expiry of its URL an upload may still arrive (ms): a PUT that started in time.
pub const UPLOAD_GRACE_MS: i64 = 15 * 60_000;

/// Pause before a started file is checked again (ms), doubled by each attempt.
const FIRST_PAUSE_MS: i64 = 60_000;
const LONGEST_PAUSE_MS: i64 = 60 * 60_000;

/// After `MAX_ATTEMPTS` runs without progress, `ingest` ends a file with what is stored of it. If that also
/// fails this many times, `sweep` ends the file in its current state.
pub const GIVE_UP_ATTEMPTS: u32 = MAX_ATTEMPTS + 10;

/// The decision about a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Do nothing: the row is not due, or the file has ended.
    Leave,
    /// Start `ingest`, and check again later in case that has no effect. A PENDING row keeps its due time:
    /// with a later one, `ingest` would refuse it.
    Start { look_again_ms: Option<i64> },
    /// End the file: it has reached the maximum number of failed runs.
    GiveUp,
    /// A URL was issued: check whether its object arrived without its event.
    LookForObject {
        /// The upload can no longer arrive.
        given_up: bool,
        look_again_ms: i64,
    },
}

/// Decides about a row at `now_ms`.
#[must_use]
pub fn verdict(row: &FileRow, now_ms: i64) -> Verdict {
    match row.claimable(now_ms) {
        Claimable::Done(_) | Claimable::Held(_) | Claimable::NotDue(_) => Verdict::Leave,
        Claimable::Yes if row.object.is_none() => {
            let given_up_ms = given_up_ms(row);
            Verdict::LookForObject { given_up: now_ms >= given_up_ms, look_again_ms: given_up_ms }
        }
        Claimable::Yes if row.attempt >= GIVE_UP_ATTEMPTS => Verdict::GiveUp,
        Claimable::Yes => match row.status {
            FileStatus::Processing => Verdict::Start { look_again_ms: Some(now_ms + pause_ms(row.attempt)) },
            FileStatus::Pending | FileStatus::Completed | FileStatus::Failed => {
                Verdict::Start { look_again_ms: None }
            }
        },
    }
}

/// When the upload of a grant can no longer arrive (ms). Only the URL's expiry counts, because each check
/// moves the row's due time.
fn given_up_ms(grant: &FileRow) -> i64 {
    grant.url_expires_ms.unwrap_or(grant.created_ms) + UPLOAD_GRACE_MS
}

/// Since when a due row has been waiting (ms), however often it was postponed.
#[must_use]
pub fn overdue_since_ms(row: &FileRow) -> i64 {
    let due_ms = row.due_at_ms.unwrap_or(row.updated_ms);
    match row.status {
        _ if row.object.is_none() => given_up_ms(row),
        FileStatus::Processing => row.lease_until_ms.unwrap_or(due_ms),
        FileStatus::Pending | FileStatus::Completed | FileStatus::Failed => due_ms,
    }
}

fn pause_ms(attempt: u32) -> i64 {
    FIRST_PAUSE_MS.saturating_mul(1 << attempt.min(10)).min(LONGEST_PAUSE_MS)
}

#[cfg(test)]
mod tests {
    use logferry_core::ledger::checkpoint::Checkpoint;
    use logferry_core::logfile::outcome::{FileCounts, Findings};
    use logferry_core::model::fingerprint::PackFingerprint;
    use logferry_core::model::object::{ObjectRef, ObjectVersion};

    use super::*;

    const NOW: i64 = 1_760_000_000_000;

    fn row(status: FileStatus, due_at_ms: i64, lease_until_ms: Option<i64>, uploaded: bool) -> FileRow {
        let version = ObjectVersion::Id("v".to_owned());
        FileRow {
            object: uploaded.then(|| ObjectRef { bucket: "b".to_owned(), key: "k".to_owned(), version }),
            bucket: "b".to_owned(),
            key: "k".to_owned(),
            app_id: None,
            status,
            fence: 1,
            attempt: 2,
            claim_id: String::new(),
            lease_until_ms,
            due_at_ms: Some(due_at_ms),
            url_expires_ms: (!uploaded).then_some(due_at_ms),
            checkpoint: Checkpoint::default(),
            packing: PackFingerprint::default(),
            counts: FileCounts::default(),
            size_bytes: None,
            reason: None,
            findings: Findings::default(),
            created_ms: NOW - 300_000,
            updated_ms: NOW - 300_000,
            processed_ms: None,
        }
    }

    #[test]
    fn a_living_lease_a_later_time_and_an_end_are_left_alone() {
        for row in [
            row(FileStatus::Processing, NOW - 1, Some(NOW + 1), true),
            row(FileStatus::Pending, NOW + 1, None, true),
            row(FileStatus::Completed, NOW - 1, None, true),
            row(FileStatus::Failed, NOW - 1, None, true),
            row(FileStatus::Pending, NOW + 1, None, false),
        ] {
            assert_eq!(verdict(&row, NOW), Verdict::Leave, "{row:?}");
        }
    }

    #[test]
    fn an_expired_lease_is_started_again_with_growing_pauses_and_a_due_row_at_once() {
        let stuck = row(FileStatus::Processing, NOW - 1, Some(NOW - 1), true);
        assert_eq!(verdict(&stuck, NOW), Verdict::Start { look_again_ms: Some(NOW + 240_000) });
        let waiting = row(FileStatus::Pending, NOW, None, true);
        assert_eq!(verdict(&waiting, NOW), Verdict::Start { look_again_ms: None });
    }

    #[test]
    fn a_file_that_gets_no_further_is_left_to_ingest_to_end_and_given_up_when_that_fails_too() {
        for status in [FileStatus::Processing, FileStatus::Pending] {
            for blocks in [0, 1] {
                let mut file = row(status, NOW - 1, Some(NOW - 1), true);
                file.checkpoint.blocks = blocks;
                file.attempt = GIVE_UP_ATTEMPTS - 1;
                assert!(matches!(verdict(&file, NOW), Verdict::Start { .. }));
                file.attempt = GIVE_UP_ATTEMPTS;
                assert_eq!(verdict(&file, NOW), Verdict::GiveUp);
            }
        }
    }

    /// Simulates sweeps every `every_ms`, the first one `first_ms` after the URL's expiry; each postpones
    /// the row as decided. Returns the number of checks, and the time after the expiry at which the last
    /// one ended the row.
    fn look_until_given_up(every_ms: i64, first_ms: i64) -> (u32, i64) {
        let mut unused = row(FileStatus::Pending, NOW, None, false);
        let mut looks = 0;
        for sweep in 0.. {
            let now_ms = NOW + first_ms + sweep * every_ms;
            match verdict(&unused, now_ms) {
                Verdict::Leave => continue,
                Verdict::LookForObject { given_up: true, .. } => return (looks + 1, now_ms - NOW),
                Verdict::LookForObject { look_again_ms, .. } => unused.due_at_ms = Some(look_again_ms),
                other => panic!("{other:?}"),
            }
            looks += 1;
            assert!(looks < 10, "still looked for {} ms after its expiry, every {every_ms} ms", now_ms - NOW);
        }
        unreachable!()
    }

    #[test]
    fn an_unused_url_is_given_up_at_the_second_look_however_often_a_sweep_comes() {
        for minutes in [1, 5, 10, 14, 15, 16, 20, 60, 240] {
            let every_ms = minutes * 60_000;
            for first_ms in [0, 1, every_ms / 2, every_ms - 1] {
                let (looks, given_up_ms) = look_until_given_up(every_ms, first_ms);
                let most = UPLOAD_GRACE_MS + every_ms;
                assert!((UPLOAD_GRACE_MS..most).contains(&given_up_ms), "{minutes} min: {given_up_ms} ms");
                assert!(looks <= 2, "{minutes} min: {looks} looks");
            }
        }
    }

    #[test]
    fn what_is_postponed_is_overdue_since_the_same_time() {
        for (status, lease_until_ms, uploaded, since_ms) in [
            (FileStatus::Processing, Some(NOW - 5), true, NOW - 5),
            (FileStatus::Pending, None, false, NOW - 9 + UPLOAD_GRACE_MS),
        ] {
            let mut late = row(status, NOW - 9, lease_until_ms, uploaded);
            assert_eq!(overdue_since_ms(&late), since_ms);
            late.due_at_ms = Some(NOW + 3_600_000);
            assert_eq!(overdue_since_ms(&late), since_ms);
        }
        assert_eq!(overdue_since_ms(&row(FileStatus::Pending, NOW - 9, None, true)), NOW - 9);
    }
}
