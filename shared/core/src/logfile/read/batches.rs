//! Hands the entries of a file from the thread that reads it to the one that redacts and packs them: in
//! batches, in file order. The number of batches is bounded, and their buffers are reused.

use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use super::looked_at::LookedAt;
use super::{IntakeError, Take};
use crate::logfile::quarantine::Quarantined;
use crate::model::record::Entry;

/// Size from which a batch is handed over (bytes).
const BATCH_BYTES: usize = 256 * 1024;

/// Maximum number of batches that wait to be packed.
const WAITING: usize = 2;

/// Runs `read` on a second thread and passes its entries, redacted, to `take` on this one. Returns when both
/// have ended.
pub(super) fn run<F: Send>(
    read: impl FnOnce(&mut Batches) -> Result<F, IntakeError> + Send,
    looked_at: LookedAt<'_>,
    take: &mut impl Take,
) -> Result<F, IntakeError> {
    let (full_in, full_out) = sync_channel(WAITING);
    let (empty_in, empty_out) = channel();
    thread::scope(|scope| {
        let reading = move || {
            let mut batches = Batches { batch: Batch::default(), full: full_in, empty: empty_out };
            let read = read(&mut batches)?;
            batches.hand_over()?;
            Ok(read)
        };
        let reader = thread::Builder::new().name("read".to_owned()).spawn_scoped(scope, reading);
        let reader = reader.map_err(IntakeError::Read)?;
        // The channels are closed before the reader is joined: an error here stops it.
        let taken = take_all(full_out, empty_in, looked_at, take);
        let read = reader.join().unwrap_or_else(|panic| resume_unwind(panic));
        taken.and(read)
    })
}

fn take_all(
    full: Receiver<Batch>,
    empty: Sender<Batch>,
    mut looked_at: LookedAt<'_>,
    take: &mut impl Take,
) -> Result<(), IntakeError> {
    for mut batch in full {
        looked_at.push(batch.text.as_bytes(), true);
        batch.pass_to(&mut looked_at, take)?;
        batch.clear();
        // An error means that the reader has ended and needs no buffer.
        let _ = empty.send(batch);
    }
    Ok(())
}

/// The reader's end.
#[derive(Debug)]
pub(super) struct Batches {
    batch: Batch,
    full: SyncSender<Batch>,
    empty: Receiver<Batch>,
}

impl Batches {
    fn hand_over(&mut self) -> Result<(), IntakeError> {
        let next = self.empty.try_recv().unwrap_or_default();
        let full = std::mem::replace(&mut self.batch, next);
        self.full.send(full).map_err(|_| IntakeError::Stopped)
    }

    fn hand_over_if_full(&mut self) -> Result<(), IntakeError> {
        let bytes = self.batch.text.len() + self.batch.made.len() * size_of::<Made>();
        if bytes < BATCH_BYTES { Ok(()) } else { self.hand_over() }
    }
}

impl Take for Batches {
    fn entry(&mut self, format: &'static str, entry: &Entry<'_>) -> Result<(), IntakeError> {
        self.batch.text.push_str(entry.raw);
        let entry = Entry { raw: "", ..*entry };
        self.batch.made.push(Made::Entry { format, entry, end: self.batch.text.len() });
        self.hand_over_if_full()
    }

    fn bad(&mut self, row: Quarantined) -> Result<(), IntakeError> {
        self.batch.made.push(Made::Bad(Box::new(row)));
        self.hand_over_if_full()
    }
}

/// What was read, in file order.
#[derive(Debug, Default)]
struct Batch {
    /// The entries' bytes one after the other.
    text: String,
    made: Vec<Made>,
}

#[derive(Debug)]
enum Made {
    /// `end`: where the entry's bytes end.
    Entry {
        format: &'static str,
        entry: Entry<'static>,
        end: usize,
    },
    Bad(Box<Quarantined>),
}

impl Batch {
    fn pass_to(&mut self, looked_at: &mut LookedAt<'_>, take: &mut impl Take) -> Result<(), IntakeError> {
        let mut begin = 0;
        for made in self.made.drain(..) {
            match made {
                Made::Entry { format, entry, end } => {
                    let at = looked_at.start() + begin as u64..looked_at.start() + end as u64;
                    let raw = looked_at.redacted(Some(at), entry.kind, &self.text[begin..end]);
                    take.entry(format, &Entry { raw: &raw, ..entry })?;
                    begin = end;
                }
                Made::Bad(row) => take.bad(*row)?,
            }
        }
        Ok(())
    }

    fn clear(&mut self) {
        self.text.clear();
        self.made.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::LazyLock;

    use super::*;
    use crate::model::level::Level;
    use crate::model::record::{EntryKind, Marks};
    use crate::model::redact::Redactor;

    fn as_they_are() -> LookedAt<'static> {
        static NONE: LazyLock<Redactor> = LazyLock::new(Redactor::default);
        LookedAt::new(&NONE)
    }

    /// Keeps up to `most` entries.
    struct Kept {
        most: usize,
        raws: Vec<String>,
    }

    impl Take for Kept {
        fn entry(&mut self, _: &'static str, entry: &Entry<'_>) -> Result<(), IntakeError> {
            if self.raws.len() == self.most {
                return Err(IntakeError::Stopped);
            }
            self.raws.push(entry.raw.to_owned());
            Ok(())
        }

        fn bad(&mut self, _: Quarantined) -> Result<(), IntakeError> {
            Ok(())
        }
    }

    fn push(batches: &mut Batches, raw: &str) -> Result<(), IntakeError> {
        let entry = Entry {
            ordinal: 0,
            timestamp_ms: 0,
            level: Level::Info,
            kind: EntryKind::PlainText,
            timestamp_fallback: false,
            marks: Marks::NONE,
            raw,
        };
        batches.entry("text", &entry)
    }

    #[test]
    fn entries_arrive_in_order_whatever_the_batches() {
        let raws: Vec<_> = (0..20_000).map(|i| format!("{i} {}", "x".repeat(i % 300))).collect();
        let mut kept = Kept { most: usize::MAX, raws: Vec::new() };
        let read = |batches: &mut Batches| raws.iter().try_for_each(|raw| push(batches, raw)).map(|()| 7);
        assert_eq!(run(read, as_they_are(), &mut kept).unwrap(), 7);
        assert_eq!(kept.raws, raws);
    }

    #[test]
    fn an_error_at_either_end_is_that_of_both() {
        let endless = |batches: &mut Batches| -> Result<(), IntakeError> {
            loop {
                push(batches, "entry")?;
            }
        };
        let mut kept = Kept { most: 10, raws: Vec::new() };
        assert!(matches!(run(endless, as_they_are(), &mut kept), Err(IntakeError::Stopped)));
        assert_eq!(kept.raws.len(), 10);
        let broken = |batches: &mut Batches| -> Result<(), IntakeError> {
            push(batches, "entry")?;
            Err(IntakeError::Read(std::io::ErrorKind::ConnectionAborted.into()))
        };
        let mut kept = Kept { most: 10, raws: Vec::new() };
        assert!(matches!(run(broken, as_they_are(), &mut kept), Err(IntakeError::Read(_))));
    }

    #[test]
    fn a_panic_of_the_reader_is_one_of_the_caller() {
        let mut kept = Kept { most: 10, raws: Vec::new() };
        let panics = |_: &mut Batches| -> Result<(), IntakeError> { panic!("while reading") };
        let caught = catch_unwind(AssertUnwindSafe(|| run(panics, as_they_are(), &mut kept)));
        assert_eq!(caught.unwrap_err().downcast_ref(), Some(&"while reading"));
    }
}
