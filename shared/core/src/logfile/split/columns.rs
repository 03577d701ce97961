//! Lines whose fields a header line names: W3C extended logs (CloudFront, IIS) and VPC flow logs. Since a line
//! does not say by itself what its words are, they are stored with it, as its context. For the same reason, what
//! is secret by its column is redacted here.

use super::envelope::MAX_CONTEXT_BYTES;
use super::{Splitter, What};
use crate::model::json;
use crate::model::level::Level;
use crate::model::record::EntryKind;
use crate::model::redact::{Redactor, Secret};
use crate::model::stamp::{Stamp, number_ms, read_time};
use crate::model::text::{SaidLevel, is_flow_header};

/// Lines of a W3C log that are no records.
const DIRECTIVES: [&str; 6] = ["#Version:", "#Software:", "#Date:", "#Start-Date:", "#End-Date:", "#Remark:"];

/// More columns than any service writes.
const MAX_COLUMNS: usize = 128;

/// The names of the fields of the lines that follow.
#[derive(Debug)]
pub(super) struct Columns {
    framing: &'static str,
    names: Vec<String>,
    /// Of each column.
    secrets: Vec<Secret>,
    separator: char,
}

impl Columns {
    /// Reads a line that names columns; a line without them is `None`.
    pub(super) fn named_by(line: &str, redactor: &Redactor) -> Option<Self> {
        let (framing, separator, names) = if let Some(names) = line.strip_prefix("#Fields:") {
            let cloudfront = names.contains("x-edge-");
            if cloudfront { ("cloudfront", '\t', names) } else { ("w3c", ' ', names) }
        } else if is_flow_header(line) {
            ("vpc-flow", ' ', line)
        } else {
            return None;
        };
        let names: Vec<_> = names.split_whitespace().take(MAX_COLUMNS + 1).map(str::to_owned).collect();
        let secrets = names.iter().map(|name| redactor.column(name)).collect();
        // Names are stored with each line.
        let fits = (1..=MAX_COLUMNS).contains(&names.len()) && line.len() <= MAX_CONTEXT_BYTES;
        fits.then_some(Self { framing, names, secrets, separator })
    }

    /// Whether a line tells of the file and not of an event.
    pub(super) fn is_directive(line: &str) -> bool {
        DIRECTIVES.iter().any(|directive| line.starts_with(directive))
    }

    fn field<'a>(&self, words: &[&'a str], name: &str) -> Option<&'a str> {
        let at = self.names.iter().position(|column| column == name)?;
        words.get(at).copied().filter(|word| !matches!(*word, "-" | ""))
    }
}

impl Splitter {
    /// Reads a line by its columns into `composed`; `None` where it has another number of words.
    pub(super) fn compose_columns(&mut self, start: u64, end: u64) -> Option<(&'static str, What)> {
        let columns = self.columns.as_ref()?;
        let line = self.buffer.between(start, end);
        let words: Vec<&str> = line.split(columns.separator).take(MAX_COLUMNS + 1).collect();
        if words.len() != columns.names.len() {
            return None;
        }
        let time = match (columns.field(&words, "date"), columns.field(&words, "time")) {
            (Some(date), Some(time)) => read_time(&format!("{date}T{time}Z"), self.near_ms),
            _ => {
                let seconds = columns.field(&words, "start").or_else(|| columns.field(&words, "timestamp"));
                seconds.and_then(number_ms).map(|ms| Stamp { ms, assumed: false })
            }
        };
        let status: Option<u16> = columns.field(&words, "sc-status").and_then(|status| status.parse().ok());
        let level = status.map_or(SaidLevel::Nothing, |status| SaidLevel::Known(Level::from_status(status)));
        let mut context = Vec::new();
        let mut stored = String::with_capacity(line.len());
        for ((name, &secret), word) in columns.names.iter().zip(&columns.secrets).zip(&words) {
            let word = self.redactor.column_value(secret, word);
            context.push(if context.is_empty() { b'{' } else { b',' });
            json::push_string(&mut context, name);
            context.push(b':');
            json::push_string(&mut context, &word);
            stored.push_str(&word);
            stored.push(columns.separator);
        }
        context.extend_from_slice(b"}\n");
        let framing = columns.framing;
        stored.pop();
        // The line says the same, and is stored without what is secret.
        if (context.len() + stored.len()) as u64 > self.max_record_bytes {
            context = b"{}\n".to_vec();
        }
        self.composed = String::from_utf8(context).ok()?;
        self.composed.push_str(&stored);
        if self.composed.len() as u64 > self.max_record_bytes {
            return None;
        }
        Some((framing, What::Composed { kind: EntryKind::LogText, time, level }))
    }
}
