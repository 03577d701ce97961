//! `docs/formats.md` is made of the tables of the recognisers and of the names that the code reads. After a
//! change of them: run this with `LOGFERRY_DOCS=write`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on stops")]

use std::fmt::Write;

use logferry_core::logfile::decode::MAX_LAYERS;
use logferry_core::model::names::{LEVELS, MESSAGES, NESTED_LEVELS, NESTED_MESSAGES, NESTED_TIMES, TIMES};
use logferry_core::model::text::ALL;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/formats.md");

/// The longest example that is shown (bytes).
const MAX_SHOWN_BYTES: usize = 160;

const HEAD: &str = "# What is read from which file

<!-- Made by shared/core/tests/formats_doc.rs from the tables of the recognisers: change those. -->

The bytes of a file decide what it is, piece by piece; its name and its Content-Type do not. Three kinds of piece may
follow each other in any order:

- A **JSON object**, wherever its lines end: one a line, several on a line, one over many lines, separated by white space,
  commas, CR or RS (RFC 7464), in an array, or in an envelope. One that does not parse is text until there has been a
  good one; from then on it is quarantined (`BROKEN_JSON`), and reading resumes at the next line. An array that is cut
  off ends at the first line that cannot belong to it: one that is neither indented nor begins as JSON between elements.
- An **entry of a text log**: a line that one of the recognisers below reads, with the lines that continue it: indented ones,
  `at …`, `Caused by:`, `Traceback …`, `... 7 more`, `#0 …`, the name of an exception, the sentences that Python writes between
  the traces of a chain, closing brackets alone, the frames of a goroutine, after an entry of Ruby the lines with its tags.
  The browser worker's lines are continued by everything that is neither a header nor a JSON object, and by everything that
  is indented. Other lines that a message breaks at the margin are plain lines.
- A **plain line**: anything else, a record with the file's time.

`logferry ingest FILE --explain` shows what a file is taken for.

## Containers and encodings

";

fn names(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn paths(paths: &[(&str, &[&str])]) -> String {
    let path = |(name, path): &(&str, &[&str])| {
        let steps = std::iter::once(*name).chain(path.iter().copied()).collect::<Vec<_>>();
        format!("`{}`", steps.join("."))
    };
    paths.iter().map(path).collect::<Vec<_>>().join(", ")
}

fn cell(text: &str) -> String {
    let end = text.floor_char_boundary(MAX_SHOWN_BYTES);
    let more = if end < text.len() { "…" } else { "" };
    let plain: String =
        text[..end].chars().map(|c| if c == '\t' { ' ' } else { c }).filter(|c| !c.is_control()).collect();
    format!("`{}{more}`", plain.replace('|', "\\|"))
}

fn document() -> String {
    let mut text = HEAD.to_owned();
    writeln!(
        text,
        "gzip (all members) and zstd (all frames) in up to {MAX_LAYERS} layers, in any mix; UTF-16 with a byte order mark or without;
UTF-8 byte order marks and NULs before a line are skipped. Archives, images, databases, Parquet and the like are FAILED
`NOT_A_LOG`, and the message names them. A file with entries of which none can be stored is FAILED `NOTHING_READABLE`.

## Envelopes

Their elements are records, their other scalar members are in `context` of each: `{{\"Records\": […]}}` (CloudTrail),
`{{\"logEvents\": […]}}` (CloudWatch subscriptions; control messages are not stored), `{{\"logs\": […]}}`, `{{\"records\": […]}}`,
`{{\"entries\": […]}}`, `{{\"resourceLogs\": […]}}` (OpenTelemetry). An envelope of more than 1 MiB gives the members before its
array. Records without a time have the envelope's. No envelope, but a record, is an object with a message or a level of
its own, with two such arrays, with an empty one and other members, or with more than 16 KiB for `context`. What Docker, CRI
or CloudWatch wrap is the record where it is a JSON object; what stands beside it is in `context`, or in `envelope` where the
record's own `context` is no object.

## Members of JSON objects

| what | read from, first that is there |
|---|---|
| time | {} |
| level | {}; `level` in a nested `log` |
| message | {} |
| request id | `request_id`, `requestId`, `reqId`, `requestID`; `id` of a `req`; `trace_id`, `traceId`, `x-amzn-trace-id`, `xrayTraceId`, `extendedRequestId` |

Where an object says none, level and time are read from {}, the message from {}. The level of a request's object with
`httpMethod` (API Gateway) follows from its `status`.

Times are numbers of seconds to nanoseconds, also as text; RFC 3339 and its relatives; RFC 2822; `10/Oct/2000:13:55:36 -0700`;
`Oct 11 22:14:15`. Where the offset or the year is missing, UTC or the file's year is assumed and the record says
`timestampAssumed`. Levels are names, or numbers on the scale of their logger: pino's, syslog's (`PRIORITY`, GELF),
OpenTelemetry's. An unknown level is INFO, and the record says `levelUnknown`.

## Lines of text
",
        names(&TIMES),
        names(&LEVELS),
        names(&MESSAGES),
        paths(&[&NESTED_LEVELS[..], &NESTED_TIMES[..]].concat()),
        paths(&NESTED_MESSAGES)
    )
    .unwrap();
    for recogniser in ALL {
        writeln!(
            text,
            "### {} (`{}`)\n\n| line | time | level |\n|---|---|---|",
            recogniser.title, recogniser.name
        )
        .unwrap();
        for example in recogniser.examples {
            let time = if example.time.is_empty() { "the file's" } else { example.time };
            writeln!(text, "| {} | {time} | {} |", cell(example.line), example.level).unwrap();
        }
        text.push('\n');
    }
    text.push_str(
        "Lines after `#Fields:` (CloudFront, IIS and other W3C logs) or after the header of a VPC flow log are read by the names\nthat it gives.\n\n\
The message is without the colours of terminals; `rawData` has them. What stands between time and level (a thread, a logger, a\nprocess) is `context.origin`.\n\n\
## What is kept, but not read\n\n\
- npmlog writes `http`, `timing` and `notice` in small letters, as prose does: such lines are plain, and each line of a message is a record.\n\
- winston's `prettyPrint` and other objects that Node.js prints without quotes around names are plain lines.\n\
- Lines that a container runtime cut (CRI's `P`, Docker's of 16 KiB without a line break) are records of their own; nothing joins them.\n\
- Loggers that write the message alone (`%m`) say no level: the record is INFO.\n",
    );
    text
}

#[test]
fn the_page_of_formats_is_what_the_code_reads() {
    let made = document();
    if std::env::var("LOGFERRY_DOCS").is_ok_and(|value| value == "write") {
        std::fs::write(PATH, &made).unwrap();
    }
    let page = std::fs::read_to_string(PATH).unwrap_or_default();
    assert!(
        page == made,
        "docs/formats.md is not what the code reads: run this test with LOGFERRY_DOCS=write"
    );
}
