//! What is to be done about a row that is due: a pure decision.

use logferry_domain::ledger::{Claimable, FileRow, FileStatus, MAX_ATTEMPTS};

/// How long after its URL expired an upload may still be on its way: a PUT that began in time (ms).
pub const UPLOAD_GRACE_MS: i64 = 15 * 60_000;

/// The pause before a file that was just started is looked at again (ms); doubled by each attempt.
const FIRST_PAUSE_MS: i64 = 60_000;
const LONGEST_PAUSE_MS: i64 = 60 * 60_000;

/// After so many runs that got no further, `ingest` ends a file with what is stored of it. One of
/// which it does not even manage that in so many more is given up here, as it is.
pub const GIVE_UP_ATTEMPTS: u32 = MAX_ATTEMPTS + 10;

/// What a sweep does with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: it is not due after all, or has ended.
    Leave,
    /// Hand it to `ingest`, and look again then should that come to nothing. A PENDING row keeps
    /// its time: a later one would make `ingest` refuse it.
    Start { look_again_ms: Option<i64> },
    /// It failed as often as it may.
    GiveUp,
    /// A URL was handed out: see whether its object arrived without its event.
    LookForObject {
        /// The upload can no longer come.
        given_up: bool,
        look_again_ms: i64,
    },
}

/// Decides about a row as it is at `now_ms`.
#[must_use]
pub fn verdict(row: &FileRow, now_ms: i64) -> Verdict {
    match row.claimable(now_ms) {
        Claimable::Done(_) | Claimable::Held(_) | Claimable::NotDue(_) => Verdict::Leave,
        Claimable::Yes if row.object.is_none() => {
            let due = row.due_at_ms.unwrap_or(now_ms);
            Verdict::LookForObject {
                given_up: now_ms >= row.created_ms.max(due) + UPLOAD_GRACE_MS,
                look_again_ms: due + UPLOAD_GRACE_MS,
            }
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

fn pause_ms(attempt: u32) -> i64 {
    FIRST_PAUSE_MS.saturating_mul(1 << attempt.min(10)).min(LONGEST_PAUSE_MS)
}

#[cfg(test)]
mod tests {
    use logferry_domain::ledger::{Checkpoint, FileCounts};
    use logferry_domain::object::{ObjectRef, ObjectVersion};
    use logferry_domain::packing::Packing;

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
            checkpoint: Checkpoint::default(),
            packing: Packing::default(),
            counts: FileCounts::default(),
            size_bytes: None,
            reason: None,
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

    #[test]
    fn an_unused_url_is_looked_after_and_given_up_only_when_no_upload_can_be_under_way() {
        let unused = row(FileStatus::Pending, NOW, None, false);
        let look_again_ms = NOW + UPLOAD_GRACE_MS;
        assert_eq!(verdict(&unused, NOW), Verdict::LookForObject { given_up: false, look_again_ms });
        let later = verdict(&unused, look_again_ms);
        assert_eq!(later, Verdict::LookForObject { given_up: true, look_again_ms });
    }
}
