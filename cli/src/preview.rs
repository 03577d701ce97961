//! What a file would become, without storing it: its records, a summary, or an explanation.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::{self, BufWriter, Write};

use logferry_core::logfile::outcome::Outcome;
use logferry_core::logfile::pack::{PackSource, Packed};
use logferry_core::logfile::quarantine::Quarantined;
use logferry_core::logfile::read::{IntakeLimits, Sink, Stopped, read_log_file_redacted};
use logferry_core::model::app::AppId;
use logferry_core::model::block::Payload;
use logferry_core::model::record::{Entry, Marks, StoredRecord};
use logferry_core::model::record_view::LogRecord;
use logferry_core::model::redact::Redactor;
use logferry_core::model::text::ALL;
use logferry_service::config::environment;
use serde_json::{Value, json};

use crate::local_file::LocalFile;
use crate::standard_input::Input;
use crate::terminal::{json_shown, shown};

/// Records, and rows of the quarantine, that an explanation shows.
const SHOWN: usize = 5;

/// What is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Each record as a line of JSON, bad ones to standard error.
    Records,
    /// Counts as JSON: of many files, a line each.
    Summary { lines: bool },
    /// What the file was taken for, its first records and what was not understood.
    Explanation,
}

/// Prints what a file would become. Returns whether it would be COMPLETED.
pub(crate) fn print(
    input: &Input,
    app_id: &AppId,
    file: &LocalFile,
    form: Form,
) -> Result<bool, Box<dyn Error>> {
    let object = file.object(app_id);
    let name = &input.name;
    let seed = object.seed();
    let source = PackSource {
        app_id,
        seed: &seed,
        source: name,
        registered_ms: 0,
        arrived_ms: file.modified_ms(),
        retention_days: 0,
        pruned_before_ms: None,
    };
    // What would not be stored is not shown either.
    let rule = |name| environment(name);
    let redactor = Redactor::configured(
        rule("REDACT_NAMES").as_deref(),
        rule("REDACT_QUERY").as_deref(),
        rule("REDACT_PATTERNS").as_deref(),
    )?;
    let mut printer = Printer::new(BufWriter::new(io::stdout().lock()), form);
    let reader = File::open(&input.path)?;
    let outcome =
        match read_log_file_redacted(reader, source, &IntakeLimits::default(), &redactor, &mut printer) {
            Ok(outcome) => outcome,
            Err(error) => return Err(printer.failed.map_or_else(|| error.into(), Into::into)),
        };
    printer.finish(&shown(name), &outcome)?;
    if let Some(reason) = outcome.reason.as_ref().filter(|_| form == Form::Records) {
        eprintln!("logferry: {}: {}: {}", shown(name), reason.code.as_str(), shown(&reason.message));
    }
    Ok(outcome.reason.is_none())
}

struct Printer<W: Write> {
    out: W,
    form: Form,
    blocks: u64,
    stored_bytes: u64,
    said: Said,
    /// The first records by their ordinals, and the first bad ones.
    first: BTreeMap<u64, String>,
    bad: Vec<Quarantined>,
    /// Why it stopped.
    failed: Option<io::Error>,
}

/// How many records say less than a user expects.
#[derive(Default)]
struct Said {
    no_time: u64,
    time_assumed: u64,
    level_unknown: u64,
}

impl Said {
    fn count(&mut self, entry: &Entry<'_>) {
        self.no_time += u64::from(entry.timestamp_fallback);
        self.time_assumed += u64::from(entry.marks.has(Marks::TIME_ASSUMED));
        self.level_unknown += u64::from(entry.marks.has(Marks::LEVEL_UNKNOWN));
    }
}

/// What a kind of content is, where its name alone does not tell.
fn title(kind: &str) -> &'static str {
    let recogniser = ALL.iter().find(|recogniser| recogniser.name == kind);
    match kind {
        "ndjson" => "JSON objects",
        "text" => "plain lines",
        _ => recogniser.map_or("", |recogniser| recogniser.title),
    }
}

impl<W: Write> Printer<W> {
    fn new(out: W, form: Form) -> Self {
        Self {
            out,
            form,
            blocks: 0,
            stored_bytes: 0,
            said: Said::default(),
            first: BTreeMap::new(),
            bad: Vec::new(),
            failed: None,
        }
    }

    fn finish(mut self, name: &str, outcome: &Outcome) -> io::Result<()> {
        match self.form {
            Form::Records => {}
            Form::Summary { lines } => {
                let mut summary = self.summary(outcome);
                if lines {
                    summary["file"] = name.into();
                    writeln!(self.out, "{summary}")?;
                } else {
                    writeln!(self.out, "{summary:#}")?;
                }
            }
            Form::Explanation => self.explain(name, outcome)?,
        }
        self.out.flush()
    }

    fn summary(&self, outcome: &Outcome) -> Value {
        let days = outcome.days.iter();
        let days: BTreeMap<_, _> =
            days.map(|(day, counts)| (day.to_string(), counts.total().levels.total())).collect();
        let kinds: serde_json::Map<_, _> =
            outcome.tally.kinds().iter().map(|(kind, count)| ((*kind).to_owned(), json!(count))).collect();
        let reasons: BTreeMap<_, _> =
            outcome.tally.reasons().iter().map(|(reason, count)| (reason.as_str(), count)).collect();
        json!({
            "status": status(outcome),
            "reason": outcome.reason,
            "warning": outcome.warning,
            "counts": outcome.counts,
            "kinds": kinds,
            "quarantined": reasons,
            "blocks": self.blocks,
            "block_bytes": self.stored_bytes,
            "records_per_day": days,
        })
    }

    fn explain(&mut self, name: &str, outcome: &Outcome) -> io::Result<()> {
        let out = &mut self.out;
        let counts = &outcome.counts;
        writeln!(out, "{name}: {}, {} bytes decompressed", status(outcome), counts.bytes)?;
        if let Some(reason) = &outcome.reason {
            writeln!(out, "  {}: {}", reason.code.as_str(), shown(&reason.message))?;
        }
        if let Some(warning) = outcome.warning {
            writeln!(out, "  {}: {} bytes", warning.as_str(), outcome.tally.bad_bytes)?;
        }
        writeln!(out, "  taken for:")?;
        if outcome.tally.kinds().is_empty() {
            writeln!(out, "    nothing: no record would be stored")?;
        }
        for (kind, count) in outcome.tally.kinds() {
            match title(kind) {
                "" => writeln!(out, "    {count:>9}  {kind}")?,
                title => writeln!(out, "    {count:>9}  {kind}: {title}")?,
            }
        }
        let skipped = outcome.tally.skipped;
        for (count, what) in [
            (skipped.nul_bytes, "NUL bytes before lines, skipped"),
            (skipped.header_lines, "header lines, not stored"),
            (skipped.control_messages, "control messages of CloudWatch, not stored"),
            (self.said.no_time, "records that say no time: they have that of the file"),
            (
                self.said.time_assumed,
                "records whose time leaves out its offset or year: UTC or the file's year",
            ),
            (self.said.level_unknown, "records with a level of an unknown name: INFO"),
        ] {
            if count > 0 {
                writeln!(out, "    {count:>9}  {what}")?;
            }
        }
        if !self.first.is_empty() {
            writeln!(out, "  first records, as they would be stored:")?;
            for line in self.first.values() {
                writeln!(out, "    {line}")?;
            }
        }
        if counts.quarantined > 0 {
            writeln!(out, "  quarantined: {}", counts.quarantined)?;
            for (reason, count) in outcome.tally.reasons() {
                writeln!(out, "    {count:>9}  {}", reason.as_str())?;
            }
            for row in &self.bad {
                let text = serde_json::to_string(&row.sample).unwrap_or_default();
                let (reason, start, end) = (row.reason.as_str(), row.start, row.end);
                writeln!(out, "    {reason} bytes {start} to {end}: {}", json_shown(&text))?;
            }
        }
        Ok(())
    }

    fn take_records(&mut self, data: &[u8]) -> io::Result<()> {
        let payload = Payload::decode(data).map_err(io::Error::other)?;
        for index in 0..payload.len() {
            let entry = payload.entry(index);
            let ordinal = entry.ordinal;
            self.said.count(&entry);
            match self.form {
                Form::Records => writeln!(self.out, "{}", line(&payload.record(index), true)?)?,
                Form::Summary { .. } => return Ok(()),
                Form::Explanation
                    if self.first.len() < SHOWN || self.first.keys().next_back() > Some(&ordinal) =>
                {
                    self.first.insert(ordinal, line(&payload.record(index), false)?);
                    if self.first.len() > SHOWN {
                        self.first.pop_last();
                    }
                }
                Form::Explanation => {}
            }
        }
        Ok(())
    }
}

fn status(outcome: &Outcome) -> &'static str {
    if outcome.reason.is_some() { "FAILED" } else { "COMPLETED" }
}

/// A record as a query answers it, on one line.
fn line(record: &StoredRecord<'_>, with_raw: bool) -> io::Result<String> {
    let mut line = Vec::new();
    LogRecord::read(record).write_json(&mut line, None, with_raw);
    // Inside JSON a line break is only ever white space.
    line.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
    let text = String::from_utf8(line).map_err(io::Error::other)?;
    Ok(json_shown(&text).to_string())
}

impl<W: Write> Sink for Printer<W> {
    fn packed(&mut self, packed: Packed) -> Result<(), Stopped> {
        let Some(block) = packed.block else { return Ok(()) };
        self.blocks += 1;
        self.stored_bytes += block.data.len() as u64;
        self.take_records(&block.data).map_err(|error| {
            self.failed = Some(error);
            Stopped
        })
    }

    fn quarantined(&mut self, record: Quarantined) -> Result<(), Stopped> {
        match self.form {
            Form::Records => {
                eprintln!("quarantined: {}", json_shown(&serde_json::to_string(&record).unwrap_or_default()));
            }
            Form::Explanation if self.bad.len() < SHOWN => self.bad.push(record),
            Form::Summary { .. } | Form::Explanation => {}
        }
        Ok(())
    }
}
