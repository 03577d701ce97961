//! Every file of `tests/fixtures/formats` gives the records that stand beside it in `NAME.expect`, one a line:
//!
//! ```text
//! LEVEL time message {"method":…,"url":…,"status":…,"address":…,"request_id":…}
//! ```
//!
//! `-` is the file's time, `?` after the level a name that no logger is known to use, `~` before the time that its
//! offset or year was assumed. The message is JSON. Then what is in quarantine and how the file ends, if not
//! COMPLETED. For a new file: run this with `LOGFERRY_EXPECT=write` and read what it wrote.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::seen::{Seen, read};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/formats");

/// Folders of files: written by real loggers, by hand, by the lists of fields of AWS, and reported by users.
const FOLDERS: [(&str, usize); 4] = [("loggers", 90), ("written", 30), ("aws", 15), ("reports", 17)];

/// The fields of a request that a record may have.
const REQUEST: [(&str, &[&str]); 6] = [
    ("method", &["/method"]),
    ("url", &["/url"]),
    ("status", &["/context/status", "/context/sc-status", "/fields/status", "/fields/httpRequest/status"]),
    ("address", &["/remoteAddress"]),
    ("request_id", &["/request_id"]),
    ("origin", &["/context/origin"]),
];

fn line(record: &Value) -> String {
    let level = record["level"].as_str().unwrap();
    let unknown = if record["levelUnknown"] == true { "?" } else { "" };
    let assumed = if record["timestampAssumed"] == true { "~" } else { "" };
    let time = if record["timestampFallback"] == true { "-" } else { record["timestamp"].as_str().unwrap() };
    let mut line = format!("{level}{unknown} {assumed}{time} {}", record["message"]);
    let request: serde_json::Map<_, _> = REQUEST
        .iter()
        .filter_map(|(name, places)| {
            let value = places.iter().find_map(|place| record.pointer(place))?;
            Some(((*name).to_owned(), value.clone()))
        })
        .collect();
    if !request.is_empty() {
        write!(line, " {}", Value::Object(request)).unwrap();
    }
    line
}

fn lines(seen: &Seen) -> String {
    let records = seen.records.iter().map(line);
    let bad = seen.bad.iter().map(|row| {
        format!("! {} {}..{} {}", row.reason.as_str(), row.start, row.end, Value::from(row.sample.as_str()))
    });
    let reason = seen.outcome.reason.iter();
    let reason = reason.map(|reason| format!("FAILED {}: {}", reason.code.as_str(), reason.message));
    let warning = seen.outcome.warning.iter().map(|warning| warning.as_str().to_owned());
    records.chain(bad).chain(reason).chain(warning).map(|line| line + "\n").collect()
}

/// The files of a folder and, for each, whether it is what is expected of another.
fn files(folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(Path::new(FOLDER).join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files
}

fn expected(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".expect");
    name.into()
}

fn check(folder: &str) {
    let writes = std::env::var("LOGFERRY_EXPECT").is_ok_and(|value| value == "write");
    let (expectations, logs): (Vec<_>, Vec<_>) =
        files(folder).into_iter().partition(|path| path.extension().is_some_and(|it| it == "expect"));
    let least = FOLDERS.iter().find(|(name, _)| *name == folder).unwrap().1;
    assert!(logs.len() >= least, "{folder} has {} files", logs.len());
    let mut wrong = String::new();
    for path in &logs {
        let lines = lines(&read(&fs::read(path).unwrap()));
        if writes {
            fs::write(expected(path), &lines).unwrap();
        }
        let expect = fs::read_to_string(expected(path)).unwrap_or_default();
        if lines != expect {
            writeln!(wrong, "{}\nexpected:\n{expect}is:\n{lines}", path.display()).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    for path in expectations {
        assert!(path.with_extension("").is_file(), "{} is of no file", path.display());
    }
}

#[test]
fn files_that_real_loggers_wrote_give_their_records() {
    check("loggers");
}

#[test]
fn files_of_loggers_that_run_elsewhere_give_their_records() {
    check("written");
}

#[test]
fn files_of_aws_services_give_their_records() {
    check("aws");
}

#[test]
fn files_that_users_reported_give_their_records() {
    check("reports");
}
