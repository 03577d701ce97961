//! What a command prints: columns for people, a line of JSON per object for programs.

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use anstyle::{AnsiColor, Style};
use logferry_core::model::time::parse_rfc3339_ms;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::terminal::{json_shown, shown};

/// How to print; without either, columns on a terminal and JSON in a pipe.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Format {
    /// Print a line of JSON per object, also on a terminal.
    #[arg(long, conflicts_with = "text")]
    json: bool,
    /// Print columns, also in a pipe.
    #[arg(long)]
    text: bool,
}

/// Standard output. The end of its reader (`| head`) is no error.
pub(crate) struct Output {
    out: BufWriter<StdoutLock<'static>>,
    pub(crate) json: bool,
    colour: bool,
}

impl Output {
    pub(crate) fn new(format: Format) -> Self {
        let out = io::stdout().lock();
        let terminal = out.is_terminal();
        // https://no-color.org
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            json: format.json || !(format.text || terminal),
            colour: terminal && wanted,
            out: BufWriter::new(out),
        }
    }

    pub(crate) fn json(&mut self, json: &RawValue) -> io::Result<()> {
        // Inside JSON a line break is only ever white space.
        let line = json.get().replace(['\n', '\r'], " ");
        writeln!(self.out, "{}", json_shown(&line))
    }

    pub(crate) fn line(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.out, "{line}")
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    pub(crate) fn styled(&self, text: &str, style: Style) -> String {
        if self.colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// Prints rows below their titles, each column as wide as its widest cell.
    pub(crate) fn table(&mut self, titles: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
        let rows: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().map(|cell| shown(cell).into_owned()).collect()).collect();
        let width = |column: usize| {
            let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            cells.chain([titles[column].len()]).max().unwrap_or_default()
        };
        let widths: Vec<_> = (0..titles.len()).map(width).collect();
        let padded = |cells: &mut dyn Iterator<Item = &str>| {
            let cells = cells.zip(&widths).map(|(cell, width)| {
                format!("{cell}{}  ", " ".repeat(width.saturating_sub(cell.chars().count())))
            });
            cells.collect::<String>().trim_end().to_owned()
        };
        if titles.iter().any(|title| !title.is_empty()) {
            let titles = self.styled(&padded(&mut titles.iter().copied()), Style::new().bold());
            self.line(&titles)?;
        }
        for row in &rows {
            self.line(&padded(&mut row.iter().map(String::as_str)))?;
        }
        Ok(())
    }

    /// Prints a record: time, level, message, then its other members, shortened.
    pub(crate) fn record(&mut self, json: &RawValue) -> io::Result<()> {
        if self.json {
            return self.json(json);
        }
        let record: Value = serde_json::from_str(json.get()).unwrap_or_default();
        let text = |name: &str| record[name].as_str().unwrap_or_default();
        let level = text("level");
        let style = match level {
            "ERROR" => AnsiColor::Red.on_default().bold(),
            "WARN" => AnsiColor::Yellow.on_default(),
            "DEBUG" => Style::new().dimmed(),
            _ => AnsiColor::Green.on_default(),
        };
        let time = text("timestamp").replace('T', " ");
        let mut line = self.styled(&shown(time.trim_end_matches('Z')), Style::new().dimmed());
        line.push(' ');
        line.push_str(&self.styled(&format!("{:<5}", shown(level)), style));
        if let Some(app) = record["app_id"].as_str() {
            line.push_str(&format!(" [{}]", shown(app)));
        }
        line.push(' ');
        line.push_str(&shown(text("message")));
        let others = others(&record);
        if let Some(late) = late(text("timestamp"), text("arrived_at")) {
            line.push_str("  ");
            line.push_str(&self.styled(&late, AnsiColor::Magenta.on_default()));
        }
        if !others.is_empty() {
            line.push_str("  ");
            line.push_str(&self.styled(&shown(&others), Style::new().dimmed()));
        }
        self.line(&line)
    }
}

/// Members of a record that are shown after its message, and how long a value may be (characters).
const SHOWN_MEMBERS: usize = 12;
const SHOWN_CHARS: usize = 60;

/// A record that arrives this much later than its own time is late (ms): longer than storing and following take.
const LATE_MS: i64 = 120_000;

/// Says by how much a record is late.
fn late(timestamp: &str, arrived_at: &str) -> Option<String> {
    let late_ms = parse_rfc3339_ms(arrived_at)? - parse_rfc3339_ms(timestamp)?;
    let minutes = late_ms / 60_000;
    let shown = match minutes {
        ..120 => format!("late={minutes}m"),
        120..2_880 => format!("late={}h", minutes / 60),
        _ => format!("late={}d", minutes / 1_440),
    };
    (late_ms >= LATE_MS).then_some(shown)
}

/// The scalar members of a record as `path=value`, those of objects by their paths.
fn others(record: &Value) -> String {
    const HIDDEN: [&str; 7] = ["id", "timestamp", "level", "message", "app_id", "rawData", "arrived_at"];
    let mut found = Vec::new();
    for (name, value) in record.as_object().into_iter().flatten() {
        if name == "fields" {
            for (name, value) in value.as_object().into_iter().flatten() {
                flatten(name, value, &mut found);
            }
        } else if !HIDDEN.contains(&name.as_str()) {
            flatten(name, value, &mut found);
        }
    }
    let more = found.len().saturating_sub(SHOWN_MEMBERS);
    found.truncate(SHOWN_MEMBERS);
    if more > 0 {
        found.push(format!("+{more}"));
    }
    found.join(" ")
}

fn flatten(path: &str, value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Null => {}
        Value::Object(members) => {
            // Headers are long, and seldom what is looked for.
            if path != "headers" {
                members.iter().for_each(|(name, value)| flatten(&format!("{path}.{name}"), value, found));
            }
        }
        value => {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let short: String = text.chars().take(SHOWN_CHARS).collect();
            let cut = if short.len() < text.len() { "…" } else { "" };
            let quote = if short.contains(' ') { "\"" } else { "" };
            found.push(format!("{path}={quote}{short}{cut}{quote}"));
        }
    }
}

/// The end of a reader is the end of the output, not an error.
pub(crate) fn is_gone(error: &(dyn std::error::Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_late_record_says_by_how_much() {
        let late = |timestamp| late(timestamp, "2026-11-26T10:00:00.000Z");
        assert_eq!(late("2026-11-26T09:58:01.000Z"), None);
        assert_eq!(late("2026-11-26T09:58:00.000Z").as_deref(), Some("late=2m"));
        assert_eq!(late("2026-11-26T07:30:00.000Z").as_deref(), Some("late=2h"));
        assert_eq!(late("2026-11-23T10:00:00.000Z").as_deref(), Some("late=3d"));
        assert_eq!(late("no time"), None);
    }

    #[test]
    fn members_are_shown_by_path_and_long_ones_are_cut() {
        let record = json!({
            "id": "1", "timestamp": "t", "level": "ERROR", "message": "m", "request_id": "r-1",
            "headers": {"host": "x"}, "context": {"user": {"id": 7}},
            "fields": {"res": {"statusCode": 500}, "none": null, "tags": ["a"], "s": "a b", "long": "x".repeat(61)},
        });
        let expected = format!(
            "request_id=r-1 context.user.id=7 res.statusCode=500 tags=[\"a\"] s=\"a b\" long={}…",
            "x".repeat(60)
        );
        assert_eq!(others(&record), expected);
    }
}
