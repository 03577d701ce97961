//! The pure path of a file: decompress, split, parse, pack. The ingest function, the command line and the
//! benchmark all use it.
//!
//! The path does not know of earlier runs. The same bytes give the same blocks and the same bad records,
//! with the same numbers. A resumed run repeats it and stores only what is missing.

mod batches;
mod looked_at;

use std::collections::BTreeSet;
use std::io::{self, Read};

use looked_at::LookedAt;

use crate::logfile::decode::{DEFAULT_MAX_EXPANSION_RATIO, DecodeError, Decoder};
use crate::logfile::outcome::{ContentTally, FileCounts, Outcome, Reason, ReasonCode, Warning};
use crate::logfile::pack::{PackSource, Packed, Packer};
use crate::logfile::quarantine::{BadRecord, Quarantined, Ranges};
use crate::logfile::split::{Body, DEFAULT_MAX_RECORD_BYTES, Piece, Splitter, StreamEnd};
use crate::model::block::BadBlock;
use crate::model::expiry::Expiring;
use crate::model::record::{Entry, Marks};
use crate::model::redact::Redactor;
use crate::model::time::{Day, MS_PER_DAY};

/// How far a record's time may be after its object's LastModified (ms). Later times are rejected: such
/// records would come first in every query for years and never expire.
pub const MAX_FUTURE_MS: i64 = MS_PER_DAY;

/// Maximum number of distinct days in a presigned file.
pub const MAX_PRESIGNED_DAYS: usize = 31;

/// The most that an object expands to unless configured otherwise (bytes): 50 GiB.
pub const DEFAULT_MAX_DECOMPRESSED_BYTES: u64 = 50 * 1024 * 1024 * 1024;

/// What a file may do to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntakeLimits {
    /// Maximum decompressed bytes per compressed byte, after the first 64 MiB.
    pub max_expansion_ratio: u64,
    pub max_record_bytes: usize,
    /// Maximum decompressed bytes in total, and what contexts add to them
    /// ([`ContentTally::grown_bytes`]).
    pub max_decompressed_bytes: u64,
    /// Maximum number of distinct UTC days.
    pub max_days: usize,
}

impl Default for IntakeLimits {
    fn default() -> Self {
        Self {
            max_expansion_ratio: DEFAULT_MAX_EXPANSION_RATIO,
            max_record_bytes: DEFAULT_MAX_RECORD_BYTES,
            max_decompressed_bytes: DEFAULT_MAX_DECOMPRESSED_BYTES,
            max_days: usize::MAX,
        }
    }
}

/// The sink asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped;

/// Receives the packed blocks and quarantined records of a file, in file order.
pub trait Sink {
    /// Receives a finished block, or the number of one that is now empty.
    ///
    /// # Errors
    /// [`Stopped`] if the sink wants nothing more.
    fn packed(&mut self, packed: Packed) -> Result<(), Stopped>;

    /// Receives a bad record, or a range of them.
    ///
    /// # Errors
    /// [`Stopped`] if the sink wants nothing more.
    fn quarantined(&mut self, row: Quarantined) -> Result<(), Stopped>;
}

/// Why a file was not read to its end. Problems of the file itself are not errors: they are in the
/// [`Outcome`].
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    #[error("the object could not be read")]
    Read(#[source] io::Error),
    #[error("stopped before the end of the file")]
    Stopped,
    #[error("a block could not be built")]
    Block(#[from] BadBlock),
}

impl From<Stopped> for IntakeError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

/// Reads a file and packs its entries without redaction.
///
/// # Errors
/// [`IntakeError`]. A damaged file is not an error: its [`Outcome`] has a reason.
pub fn read_log_file(
    reader: impl Read,
    source: PackSource<'_>,
    limits: &IntakeLimits,
    sink: &mut impl Sink,
) -> Result<Outcome, IntakeError> {
    read_log_file_redacted(reader, source, limits, &Redactor::default(), sink)
}

/// Reads a file and packs its redacted entries.
///
/// # Errors
/// As [`read_log_file`].
pub fn read_log_file_redacted(
    reader: impl Read,
    source: PackSource<'_>,
    limits: &IntakeLimits,
    redactor: &Redactor,
    sink: &mut impl Sink,
) -> Result<Outcome, IntakeError> {
    let arrived_ms = source.arrived_ms;
    let mut packing = Packing::new(source, sink);
    let looked_at = LookedAt::new(redactor);
    let found = Reading::new(arrived_ms, limits, redactor, looked_at, &mut packing).read(reader, limits)?;
    packing.finish(found)
}

/// As [`read_log_file_redacted`], with the same blocks: a second thread decompresses and splits while this one
/// redacts and packs. The second thread has ended when the function returns. For machines with two cores or more.
///
/// # Errors
/// As [`read_log_file`].
///
/// # Panics
/// If the second thread panics.
pub fn read_log_file_on_two_threads(
    reader: impl Read + Send,
    source: PackSource<'_>,
    limits: &IntakeLimits,
    redactor: &Redactor,
    sink: &mut impl Sink,
) -> Result<Outcome, IntakeError> {
    let arrived_ms = source.arrived_ms;
    let mut packing = Packing::new(source, sink);
    let read = |entries: &mut _| {
        let as_they_are = Redactor::default();
        Reading::new(arrived_ms, limits, redactor, LookedAt::new(&as_they_are), entries).read(reader, limits)
    };
    let found = batches::run(read, LookedAt::new(redactor), &mut packing)?;
    packing.finish(found)
}

/// Takes what is read of a file, in file order.
trait Take {
    /// `format`: what the entry was taken for.
    fn entry(&mut self, format: &'static str, entry: &Entry<'_>) -> Result<(), IntakeError>;

    fn bad(&mut self, row: Quarantined) -> Result<(), IntakeError>;
}

/// What a file was, once it is read.
struct Found {
    reason: Option<Reason>,
    bytes: u64,
    /// Number of bad records.
    quarantined: u64,
    /// The last row of them, which no further record completes.
    last_row: Option<Quarantined>,
    tally: ContentTally,
}

/// Decompresses and splits, and redacts unless a batch's reader does.
struct Reading<'s, T> {
    arrived_ms: i64,
    /// Days of all good records, including pruned ones: where a file is cut must not depend on the
    /// watermark.
    days: BTreeSet<Day>,
    max_days: usize,
    max_bytes: u64,
    /// For samples of bad records, and for columns.
    redactor: &'s Redactor,
    looked_at: LookedAt<'s>,
    quarantined: u64,
    tally: ContentTally,
    ranges: Ranges,
    entries: &'s mut T,
}

impl<'s, T: Take> Reading<'s, T> {
    fn new(
        arrived_ms: i64,
        limits: &IntakeLimits,
        redactor: &'s Redactor,
        looked_at: LookedAt<'s>,
        entries: &'s mut T,
    ) -> Self {
        Self {
            arrived_ms,
            days: BTreeSet::new(),
            max_days: limits.max_days,
            max_bytes: limits.max_decompressed_bytes,
            redactor,
            looked_at,
            quarantined: 0,
            tally: ContentTally::default(),
            ranges: Ranges::default(),
            entries,
        }
    }

    fn read(mut self, reader: impl Read, limits: &IntakeLimits) -> Result<Found, IntakeError> {
        let mut decoder = Decoder::new(reader, limits.max_expansion_ratio, limits.max_decompressed_bytes);
        let mut splitter = Splitter::new(limits.max_record_bytes, self.arrived_ms);
        splitter.redact_columns(self.redactor);
        let (mut bytes, mut transcoded) = (0, false);
        let damage = loop {
            match decoder.next_chunk() {
                Ok(Some(chunk)) => {
                    if let Some(mark_bytes) = chunk.utf16_from {
                        splitter.is_from_utf16(mark_bytes);
                        transcoded = true;
                    }
                    bytes += chunk.original_bytes;
                    self.looked_at.push(chunk.bytes, !transcoded);
                    splitter.push(chunk.bytes);
                    if let Some(reason) = self.drain(&mut splitter)? {
                        return Ok(self.finish(Some(reason), bytes, &splitter));
                    }
                }
                Ok(None) => break None,
                Err(DecodeError::Bad(reason)) => break Some(reason),
                Err(DecodeError::Read(error)) => return Err(IntakeError::Read(error)),
            }
        };
        splitter.finish(if damage.is_some() { StreamEnd::CutOff } else { StreamEnd::Whole });
        if let Some(reason) = self.drain(&mut splitter)? {
            return Ok(self.finish(Some(reason), bytes, &splitter));
        }
        let unterminated = || {
            splitter.unterminated().then(|| Reason {
                code: ReasonCode::ArrayUnterminated,
                message: format!("the JSON array is not closed (decompressed {bytes} bytes)"),
            })
        };
        let reason = damage.or_else(unterminated);
        Ok(self.finish(reason, bytes, &splitter))
    }

    /// Parses all entries that are available. Returns a reason if the file ends with one of them.
    fn drain(&mut self, splitter: &mut Splitter) -> Result<Option<Reason>, IntakeError> {
        while let Some(piece) = splitter.next_piece() {
            if let Some(reason) = self.take(&piece)? {
                return Ok(Some(reason));
            }
        }
        Ok(None)
    }

    fn take(&mut self, piece: &Piece<'_>) -> Result<Option<Reason>, IntakeError> {
        let parsed = match &piece.body {
            Body::Record(record) => record,
            Body::Bad(reason, sample) => {
                self.quarantined += 1;
                self.tally.bad(*reason, piece.end - piece.start);
                let Piece { ordinal, start, end, .. } = *piece;
                let bad = BadRecord { ordinal, reason: *reason, start, end };
                if let Some(row) = self.ranges.add(bad, || self.redactor.sample(sample.to_string())) {
                    self.entries.bad(row)?;
                }
                return Ok(None);
            }
        };
        if parsed.marks.has(Marks::WRAPPED) {
            self.tally.grown(piece.end - piece.start, parsed.raw.len());
            if piece.end + self.tally.grown_bytes > self.max_bytes {
                return Ok(Some(grown_too_much(piece, self.max_bytes)));
            }
        }
        let said_ms = parsed.timestamp_ms.filter(|ms| ms - self.arrived_ms <= MAX_FUTURE_MS);
        let timestamp_ms = said_ms.unwrap_or(self.arrived_ms);
        let day = Day::of_ms(timestamp_ms);
        if !self.days.contains(&day) {
            if self.days.len() >= self.max_days {
                return Ok(Some(too_scattered(piece, self.max_days)));
            }
            self.days.insert(day);
        }
        self.tally.good(piece.framing);
        // What an envelope says of its entry stands elsewhere.
        let at = (!parsed.marks.has(Marks::WRAPPED)).then_some(piece.start..piece.end);
        let raw = self.looked_at.redacted(at, parsed.kind, parsed.raw);
        let entry = Entry {
            ordinal: piece.ordinal,
            timestamp_ms,
            level: parsed.level,
            kind: parsed.kind,
            timestamp_fallback: said_ms.is_none(),
            marks: if said_ms.is_none() { parsed.marks.without(Marks::TIME_ASSUMED) } else { parsed.marks },
            raw: &raw,
        };
        self.entries.entry(piece.framing, &entry)?;
        Ok(None)
    }

    fn finish(mut self, reason: Option<Reason>, bytes: u64, splitter: &Splitter) -> Found {
        self.tally.skipped = splitter.skipped();
        let last_row = self.ranges.finish();
        Found { reason, bytes, quarantined: self.quarantined, last_row, tally: self.tally }
    }
}

/// Packs entries and passes on the blocks.
struct Packing<'s, 'a, S> {
    packer: Packer<'a>,
    ready: Vec<Packed>,
    sink: &'s mut S,
}

impl<S: Sink> Take for Packing<'_, '_, S> {
    fn entry(&mut self, format: &'static str, entry: &Entry<'_>) -> Result<(), IntakeError> {
        self.packer.set_format(format);
        self.packer.push(entry, &mut self.ready)?;
        self.pass_on()
    }

    fn bad(&mut self, row: Quarantined) -> Result<(), IntakeError> {
        Ok(self.sink.quarantined(row)?)
    }
}

impl<'s, 'a, S: Sink> Packing<'s, 'a, S> {
    fn new(source: PackSource<'a>, sink: &'s mut S) -> Self {
        Self { packer: Packer::new(source), ready: Vec::new(), sink }
    }

    fn pass_on(&mut self) -> Result<(), IntakeError> {
        for packed in self.ready.drain(..) {
            self.sink.packed(packed)?;
        }
        Ok(())
    }

    fn finish(mut self, found: Found) -> Result<Outcome, IntakeError> {
        let Found { reason, bytes, quarantined, last_row, tally } = found;
        let (ok, pruned) = (self.packer.stored(), self.packer.pruned());
        let counts = FileCounts { ok, quarantined, pruned, bytes };
        let expires_on = self.packer.expires_on();
        let days = self.packer.finish(&mut self.ready)?;
        let days = days.into_iter().map(|(day, counts)| (day, Expiring::one(expires_on, counts))).collect();
        for packed in self.ready {
            self.sink.packed(packed)?;
        }
        if let Some(row) = last_row {
            self.sink.quarantined(row)?;
        }
        let reason = reason.or_else(|| nothing_readable(&counts, &tally));
        let mostly_bad = reason.is_none() && tally.bad_bytes > bytes / 2;
        let warning = mostly_bad.then_some(Warning::MostlyQuarantined);
        Ok(Outcome { reason, warning, counts, days, tally })
    }
}

/// Why a file of which nothing could be stored is no log.
fn nothing_readable(counts: &FileCounts, tally: &ContentTally) -> Option<Reason> {
    if counts.quarantined == 0 || counts.ok + counts.pruned > 0 {
        return None;
    }
    let (reason, count) = tally.most_frequent_bad()?;
    Some(Reason {
        code: ReasonCode::NothingReadable,
        message: format!(
            "none of its {} entries could be read, {count} of them for {}",
            counts.quarantined,
            reason.as_str()
        ),
    })
}

fn grown_too_much(piece: &Piece<'_>, max_bytes: u64) -> Reason {
    Reason {
        code: ReasonCode::ExpansionLimit,
        message: format!(
            "with what its envelopes add to each record, the file exceeds the limit of {max_bytes} bytes at \
             decompressed byte {}",
            piece.start
        ),
    }
}

fn too_scattered(piece: &Piece<'_>, max_days: usize) -> Reason {
    Reason {
        code: ReasonCode::TooScattered,
        message: format!(
            "the record at decompressed byte {} exceeds the limit of {max_days} distinct days per file",
            piece.start
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;
    use crate::logfile::quarantine::QuarantineReason;
    use crate::model::block::Payload;
    use crate::model::expiry::expires_at_secs;
    use crate::model::ids::Seed;

    const ARRIVED_MS: i64 = 1_743_532_441_581;

    #[derive(Default, Debug, Clone, PartialEq)]
    struct Kept {
        packed: Vec<Packed>,
        quarantined: Vec<Quarantined>,
    }

    impl Sink for Kept {
        fn packed(&mut self, packed: Packed) -> Result<(), Stopped> {
            self.packed.push(packed);
            Ok(())
        }

        fn quarantined(&mut self, record: Quarantined) -> Result<(), Stopped> {
            self.quarantined.push(record);
            Ok(())
        }
    }

    impl Kept {
        /// The originals of all records, in order of their ordinals.
        fn raws(&self) -> Vec<String> {
            let mut all = Vec::new();
            for block in self.packed.iter().flat_map(|packed| &packed.block) {
                let payload = Payload::decode(&block.data).unwrap();
                all.extend(payload.entries().map(|entry| (entry.ordinal, entry.raw.to_owned())));
            }
            all.sort();
            all.into_iter().map(|(_, raw)| raw).collect()
        }

        fn reasons(&self) -> Vec<QuarantineReason> {
            self.quarantined.iter().map(|record| record.reason).collect()
        }
    }

    /// Reads on one thread and on two, with the default redaction, and asserts that both store the same.
    fn run(bytes: &[u8]) -> (Kept, Outcome) {
        run_within(bytes, &IntakeLimits::default(), None)
    }

    fn run_within(bytes: &[u8], limits: &IntakeLimits, pruned_before_ms: Option<i64>) -> (Kept, Outcome) {
        let app_id = "app".parse().unwrap();
        let seed = Seed::of(&[b"object"]);
        let source = PackSource {
            app_id: &app_id,
            seed: &seed,
            source: "s3://b/k",
            registered_ms: 1,
            arrived_ms: ARRIVED_MS,
            retention_days: 30,
            pruned_before_ms,
        };
        let (mut kept, mut kept_on_two) = (Kept::default(), Kept::default());
        static RULES: LazyLock<Redactor> = LazyLock::new(|| Redactor::standard().unwrap());
        let rules = &RULES;
        let outcome = read_log_file_redacted(bytes, source.clone(), limits, rules, &mut kept).unwrap();
        let on_two = read_log_file_on_two_threads(bytes, source, limits, rules, &mut kept_on_two);
        assert_eq!((on_two.unwrap(), kept_on_two), (outcome.clone(), kept.clone()));
        assert_eq!(outcome.counts.ok as usize, kept.raws().len());
        assert_eq!(outcome.counts.quarantined as usize, kept.quarantined.len());
        assert_eq!(
            outcome.days.values().map(|day| day.total().levels.total()).sum::<i64>(),
            outcome.counts.ok as i64
        );
        (kept, outcome)
    }

    #[test]
    fn what_is_secret_by_its_column_is_redacted_in_the_line_and_its_context() {
        let columns = "date time x-edge-location cs-uri-stem cs-uri-query cs(Cookie) cs(X-Api-Key)";
        let line = |words: &[&str]| words.join("\t");
        let text = [
            format!("#Version: 1.0\n#Fields: {columns}"),
            line(&["2025-04-01", "18:34:01", "LAX1", "/a", "code=abc&b=2&sig=c", "sid=abc", "-"]),
            line(&["2025-04-01", "18:34:02", "LAX1", "/a", "-", "-", "k"]),
        ];
        let (kept, _) = run(text.join("\n").as_bytes());
        let query = "code=[redacted]&b=2&sig=[redacted]";
        let lines = [
            line(&["2025-04-01", "18:34:01", "LAX1", "/a", query, "[redacted]", "-"]),
            line(&["2025-04-01", "18:34:02", "LAX1", "/a", "-", "-", "[redacted]"]),
        ];
        for (raw, line) in kept.raws().iter().zip(&lines) {
            let (context, stored) = raw.split_once('\n').unwrap();
            assert_eq!(stored, line);
            let context: serde_json::Map<String, serde_json::Value> = serde_json::from_str(context).unwrap();
            let words: Vec<_> = columns.split(' ').map(|name| context[name].as_str().unwrap()).collect();
            assert_eq!(words.join("\t"), *line);
        }
        assert_eq!(kept.raws().len(), lines.len());
        // As long as a record may be, without room for its context.
        let long = format!("#Fields: cs-uri-stem cs(Cookie)\n/{} sid=abc", "a".repeat(1_000_000));
        let (kept, _) = run(long.as_bytes());
        assert!(kept.raws()[0].starts_with("{}\n/a") && kept.raws()[0].ends_with("a [redacted]"));
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn code(outcome: &Outcome) -> Option<ReasonCode> {
        outcome.reason.as_ref().map(|reason| reason.code)
    }

    #[test]
    fn bad_files_end_in_a_documented_state() {
        use QuarantineReason::{InvalidUtf8, NotAnObject, TooLarge};
        let long = "x".repeat(10_000_000);
        for (bytes, ok, reasons, state) in [
            (b"".as_slice(), 0, vec![], None),
            (b"   \n\n", 0, vec![], None),
            (b"null", 1, vec![], None),
            (b"[]", 0, vec![], None),
            (b"[1,2]", 1, vec![], None),
            (b"[{},1,2]", 1, vec![NotAnObject, NotAnObject], None),
            (b"plain text, called x.gz\nmore\n", 2, vec![], None),
            (b"\xff\xfe\n\xfd", 0, vec![InvalidUtf8, InvalidUtf8], Some(ReasonCode::NothingReadable)),
            (long.as_bytes(), 0, vec![TooLarge], Some(ReasonCode::NothingReadable)),
            (b"PK\x03\x04\x14\0", 0, vec![], Some(ReasonCode::NotALog)),
            (b"[{\"a\":1}", 1, vec![], Some(ReasonCode::ArrayUnterminated)),
        ] {
            let (kept, outcome) = run(bytes);
            let what = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
            assert_eq!((outcome.counts.ok, kept.reasons(), code(&outcome)), (ok, reasons, state), "{what}");
        }
    }

    #[test]
    fn valid_records_before_the_cut_are_kept_and_the_rest_is_reported() {
        let lines: Vec<_> = (0..3000).map(|i| format!("{{\"time\":{},\"i\":{i}}}", ARRIVED_MS + i)).collect();
        let file = gzip(lines.join("\n").as_bytes());
        let (kept, outcome) = run(&file[..file.len() / 2]);
        assert_eq!(code(&outcome), Some(ReasonCode::GzipTruncated));
        let raws = kept.raws();
        assert!(raws.len() > 1000 && lines.starts_with(&raws));
        assert!(kept.reasons().iter().all(|&reason| reason == QuarantineReason::CutOff));
    }

    #[test]
    fn secrets_are_not_stored_wherever_their_entry_lies_in_its_chunk_and_its_batch() {
        let line = |i: usize| match i % 7 {
            0 => format!("{{\"i\":{i},\"password\":\"s3cret\"}}"),
            1 => format!("GET /x?token=s3cret&i={i}"),
            _ => format!("{{\"i\":{i},\"pad\":\"{}\"}}", "x".repeat(i % 97)),
        };
        let lines: Vec<_> = (0..20_000).map(line).collect();
        let (kept, outcome) = run(lines.join("\n").as_bytes());
        assert_eq!(outcome.counts.ok, 20_000);
        for (raw, line) in kept.raws().iter().zip(&lines) {
            assert_eq!(raw == line, !line.contains("s3cret"), "{line}");
            assert!(!raw.contains("s3cret"), "{raw}");
        }
    }

    #[test]
    fn an_array_and_lines_of_the_same_entries_store_the_same() {
        let entries: Vec<_> =
            (0..500).map(|i| format!("{{\"level\":30,\"time\":{}}}", ARRIVED_MS + i * 1000)).collect();
        let (lines, _) = run(entries.join("\n").as_bytes());
        let (array, _) = run(format!("[{}]", entries.join(",\n")).as_bytes());
        assert_eq!(lines.raws(), entries);
        let payloads = |kept: &Kept| -> Vec<Vec<u8>> {
            kept.packed.iter().flat_map(|packed| &packed.block).map(|block| block.data.clone()).collect()
        };
        assert_eq!(payloads(&lines), payloads(&array));
    }

    /// Times of all records and whether they are fallbacks, in order of their ordinals.
    fn times(kept: &Kept) -> Vec<(i64, bool)> {
        let mut all = Vec::new();
        for block in kept.packed.iter().flat_map(|packed| &packed.block) {
            let payload = Payload::decode(&block.data).unwrap();
            let entries = payload.entries();
            all.extend(entries.map(|entry| (entry.ordinal, entry.timestamp_ms, entry.timestamp_fallback)));
        }
        all.sort_unstable();
        all.into_iter().map(|(_, ms, fallback)| (ms, fallback)).collect()
    }

    #[test]
    fn a_time_before_2000_or_more_than_a_day_after_the_object_is_replaced_by_the_objects() {
        let said = [
            (ARRIVED_MS, false),
            (ARRIVED_MS + MAX_FUTURE_MS, false),
            (ARRIVED_MS + MAX_FUTURE_MS + 1, true),
            (4_102_444_799_999, true),
            (946_684_800_000, false),
            (946_684_799_999, true),
        ];
        let line = |ms: i64| format!("{{\"time\":{ms}}}\n");
        let lines: String = said.iter().map(|&(ms, _)| line(ms)).collect();
        let worker = "2099-12-31T23:59:59.999Z [ERROR] far in the future\n";
        let expect: Vec<_> =
            said.iter().map(|&(ms, fallback)| (if fallback { ARRIVED_MS } else { ms }, fallback)).collect();
        assert_eq!(times(&run(lines.as_bytes()).0), expect);
        assert_eq!(times(&run(worker.as_bytes()).0), [(ARRIVED_MS, true)]);
    }

    #[test]
    fn a_block_expires_by_the_arrival_of_its_object_even_if_its_records_are_in_the_future() {
        let text = format!(
            "{{\"time\":{}}}\n{{\"time\":{}}}\n",
            ARRIVED_MS + MAX_FUTURE_MS,
            ARRIVED_MS - MS_PER_DAY
        );
        let (kept, _) = run(text.as_bytes());
        assert_eq!(kept.packed.len(), 2);
        for packed in &kept.packed {
            let expires = packed.block.as_ref().unwrap().header.expires_at_secs;
            assert_eq!(expires, Some(expires_at_secs(Day(Day::of_ms(ARRIVED_MS).0 + 31))));
        }
    }

    #[test]
    fn a_file_of_too_many_days_keeps_what_came_before_the_day_too_many() {
        let limits = IntakeLimits { max_days: 31, ..IntakeLimits::default() };
        let line = |day: i64, n: i64| format!("{{\"time\":{},\"n\":{n}}}\n", ARRIVED_MS - day * MS_PER_DAY);
        let days = |days: i64| (0..days * 3).map(|n| line(n % days, n)).collect::<String>();
        let (kept, outcome) = run_within(days(31).as_bytes(), &limits, None);
        assert_eq!((kept.raws().len(), code(&outcome)), (93, None));
        let text = days(32);
        for pruned_before_ms in [None, Some(ARRIVED_MS - 10 * MS_PER_DAY)] {
            let (_, outcome) = run_within(text.as_bytes(), &limits, pruned_before_ms);
            assert_eq!(outcome.counts.ok + outcome.counts.pruned, 31);
            let reason = outcome.reason.unwrap();
            let at = (0..31).map(|n| line(n, n).len()).sum::<usize>();
            assert_eq!(reason.code, ReasonCode::TooScattered);
            assert_eq!(outcome.tally.kinds(), [("ndjson", 31)]);
            assert!(reason.message.contains(&format!("byte {at} ")), "{}", reason.message);
        }
    }

    #[test]
    fn a_file_that_is_too_long_when_decompressed_keeps_what_lies_before_the_limit() {
        let lines: Vec<_> =
            (0..50_000).map(|i| format!("{{\"time\":{},\"i\":{i}}}", ARRIVED_MS - i)).collect();
        let text = lines.join("\n");
        let limits = IntakeLimits { max_decompressed_bytes: 300_000, ..IntakeLimits::default() };
        for bytes in [gzip(text.as_bytes()), text.clone().into_bytes()] {
            let (kept, outcome) = run_within(&bytes, &limits, None);
            assert_eq!((code(&outcome), outcome.counts.bytes), (Some(ReasonCode::ExpansionLimit), 300_000));
            let raws = kept.raws();
            assert!(raws.len() > 5_000 && lines.starts_with(&raws));
            assert_eq!(kept.reasons(), [QuarantineReason::CutOff]);
        }
        let enough = IntakeLimits { max_decompressed_bytes: text.len() as u64, ..IntakeLimits::default() };
        assert_eq!(code(&run_within(&gzip(text.as_bytes()), &enough, None).1), None);
    }

    #[test]
    fn what_envelopes_and_columns_add_to_records_counts_as_content() {
        let context = "x".repeat(1000);
        let envelope = format!("{{\"pad\":\"{context}\",\"logs\":[{}{{}}]}}", "{},".repeat(999));
        let columns = format!("#Fields: {context} b\n{}", "x y\n".repeat(1000));
        for text in [envelope, columns] {
            let (kept, outcome) = run(text.as_bytes());
            assert_eq!((kept.raws().len(), code(&outcome)), (1000, None));
            let stored: u64 = kept.raws().iter().map(|raw| raw.len() as u64).sum();
            assert!(outcome.tally.grown_bytes > stored * 9 / 10 && outcome.tally.grown_bytes < stored);
            assert_eq!(outcome.counts.bytes, text.len() as u64);
            let limits = IntakeLimits { max_decompressed_bytes: 500_000, ..IntakeLimits::default() };
            let (kept, outcome) = run_within(text.as_bytes(), &limits, None);
            assert_eq!(code(&outcome), Some(ReasonCode::ExpansionLimit));
            assert!((450..550).contains(&kept.raws().len()), "{}", kept.raws().len());
        }
        let honest =
            "{\"log\":\"{\\\"a\\\":1}\\n\",\"stream\":\"stdout\",\"attrs\":{\"tag\":\"shop\"}}\n".repeat(9);
        assert_eq!(run(honest.as_bytes()).1.tally.grown_bytes, 0);
    }

    #[test]
    fn a_file_of_which_most_bytes_are_bad_is_completed_with_a_warning() {
        let warning = |text: &str| run(text.as_bytes()).1.warning;
        let bad = "{\"a\":}\n".repeat(5);
        assert_eq!(warning(&format!("{{\"a\":1}}\n{bad}")), Some(Warning::MostlyQuarantined));
        assert_eq!(warning("{\"a\":1}\n{\"a\":}\n{\"a\":2}\n"), None);
    }

    #[test]
    fn a_file_is_tallied_by_what_its_pieces_were_taken_for() {
        let text = "{}\n{}\nready\n2025-04-01 18:34:01 WARN x\n[{},1]\n\0\0{}";
        let tally = run(text.as_bytes()).1.tally;
        assert_eq!(tally.kinds(), [("ndjson", 3), ("text", 1), ("dated", 1), ("json-array", 1)]);
        assert_eq!(tally.reasons().get(&QuarantineReason::NotAnObject), Some(&1));
        assert_eq!((tally.skipped.nul_bytes, tally.bad_bytes), (2, 1));
    }

    #[test]
    fn blocks_say_what_the_file_was() {
        for (text, format) in [("{}", "ndjson"), ("[{}]", "json-array"), ("x", "text")] {
            let (kept, _) = run(text.as_bytes());
            assert_eq!(kept.packed[0].block.as_ref().unwrap().header.format, format);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn mutated_files_neither_panic_nor_differ_from_run_to_run(
            flips in prop::collection::vec((0usize..4000, any::<u8>()), 0..12), framing in 0usize..4, packed in any::<bool>()
        ) {
            let line = |i: i64| match framing {
                0 | 1 => format!("{{\"level\":{},\"time\":{},\"msg\":\"m\\n{i}\",\"a\":[{{}}]}}", i % 7 * 10, ARRIVED_MS + i * 100_000),
                2 => format!("2025-04-01T00:00:{:02}.000Z [INFO] {i}\n  more", i % 60),
                _ => format!("text {i}"),
            };
            let lines: Vec<_> = (0..60).map(line).collect();
            let text = if framing == 0 { format!("[{}]", lines.join(",\n")) } else { lines.join("\n") };
            let mut bytes = if packed { gzip(text.as_bytes()) } else { text.into_bytes() };
            for (at, value) in flips {
                let at = at % bytes.len();
                bytes[at] = value;
            }
            prop_assert_eq!(run(&bytes), run(&bytes));
        }
    }
}
