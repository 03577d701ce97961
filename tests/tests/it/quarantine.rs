//! Bad records of a file: which are kept, how, and in how many rows.

use logferry_core::ledger::row::FileStatus;
use logferry_core::logfile::quarantine::{QuarantineReason, Quarantined};
use logferry_core::model::fault::FaultClass;
use logferry_core::model::object::ObjectRef;
use logferry_ingest::Ingested;
use logferry_sim::{How, SimCloud, T0};
use logferry_tests::ingest::{BUCKET, event};
use logferry_tests::stack::gzip;

use crate::ingest::{cloud, deadline, function, run};

const BAD: u64 = 100_000;

/// Bad lines: consecutive, or with a good one after each.
fn bad_lines(alternating: bool) -> String {
    let good = if alternating { format!("{{\"time\":{T0}}}\n") } else { String::new() };
    let lines =
        (0..BAD).map(|i| format!("{}\n{good}", if i % 3 == 0 { "{\"cookie\":\"SECRET" } else { "null" }));
    // A file's first line determines its framing.
    format!("{{\"time\":{T0}}}\n{}", lines.collect::<String>())
}

#[track_caller]
fn check_rows(rows: &[Quarantined], text: &str, alternating: bool) {
    let most = if alternating { 3_000 } else { 1_001 };
    assert!(rows.len() <= most, "{} rows", rows.len());
    let step = if alternating { 2 } else { 1 };
    let mut next = 1;
    for (index, row) in rows.iter().enumerate() {
        assert_eq!(row.ordinal, next, "no bad record is left out");
        assert_eq!(row.count, (row.last_ordinal - row.ordinal) / step + 1);
        assert_eq!(row.reasons.values().sum::<u64>(), row.count);
        assert!(row.count == 1 || index >= 1_000, "the first have a row each");
        let range = &text[usize::try_from(row.start).unwrap()..usize::try_from(row.end).unwrap()];
        assert!(range.starts_with('{') || range.starts_with("null"), "{range}");
        assert_eq!(range.lines().count() as u64, row.last_ordinal - row.ordinal + 1);
        assert!(!row.sample.contains("SECRET"), "{}", row.sample);
        next = row.last_ordinal + step;
    }
    assert_eq!(rows.iter().map(|row| row.count).sum::<u64>(), BAD);
    let broken: u64 = rows.iter().filter_map(|row| row.reasons.get(&QuarantineReason::BrokenJson)).sum();
    assert_eq!(broken, BAD.div_ceil(3));
}

async fn whole_run(text: &str) -> (SimCloud, ObjectRef) {
    let cloud = cloud();
    let object = cloud.put_object(BUCKET, "logs/my-app/x", text.to_owned());
    let Ingested::Completed { counts } = run(&cloud, &object).await else { panic!("not completed") };
    assert_eq!(counts.quarantined, BAD, "each one counts, in a range or not");
    (cloud, object)
}

#[tokio::test]
async fn a_hundred_thousand_bad_records_make_few_rows_that_leave_none_out() {
    for alternating in [true, false] {
        let text = bad_lines(alternating);
        let (cloud, object) = whole_run(&text).await;
        check_rows(&cloud.quarantined(&object), &text, alternating);
    }
}

#[tokio::test]
async fn a_run_that_goes_on_makes_the_same_rows_and_writes_none_twice() {
    let text = bad_lines(true);
    let (whole, same) = whole_run(&text).await;
    let cloud = cloud();
    let object = cloud.put_object(BUCKET, "logs/my-app/x", text);
    let mut runs = 0;
    while !cloud.rows().first().is_some_and(|row| row.status == FileStatus::Completed) {
        // Not a transient fault: each run ends at it.
        cloud.fail_call(cloud.calls() + 15 + runs, How::Before(FaultClass::Denied));
        let _ = function(&cloud).handle(&event(&object), deadline(&cloud)).await;
        runs += 1;
        assert!(runs < 100, "no end: {:?}", cloud.rows());
    }
    assert!(runs > 3);
    assert_eq!(cloud.quarantined(&object), whole.quarantined(&same));
    // Starting and releasing takes a few calls per run; everything is stored once.
    assert!(cloud.calls() <= whole.calls() + 12 * runs, "{} calls of {}", cloud.calls(), whole.calls());
    let stored = |cloud: &SimCloud| cloud.records(&"my-app".parse().unwrap()).len();
    assert_eq!(stored(&cloud), stored(&whole));
}

#[tokio::test]
async fn each_kind_of_bad_record_is_kept_with_its_reason_place_and_sample() {
    use QuarantineReason::{BrokenJson, CutOff, InvalidUtf8, NotAnObject, TooDeep, TooLarge};
    let large = format!("{{\"a\":\"{}\"}}", (0..200_000).map(|n| n.to_string()).collect::<String>());
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(64), "]".repeat(64));
    let lines: Vec<(&[u8], Option<QuarantineReason>)> = vec![
        (b"{\"good\":1}", None),
        (b"{\"a\":", Some(BrokenJson)),
        (b"[1]", Some(NotAnObject)),
        (large.as_bytes(), Some(TooLarge)),
        (b"{\"good\":2}", None),
        (b"{\"a\":\"\xff\"}", Some(InvalidUtf8)),
        (deep.as_bytes(), Some(TooDeep)),
        (b"{\"a\":\"the end", Some(CutOff)),
    ];
    let text = lines.iter().map(|(line, _)| *line).collect::<Vec<_>>().join(&b"\n"[..]);
    let mut file = gzip(&text);
    // Without its checksum and length.
    file.truncate(file.len() - 8);
    let cloud = cloud();
    let object = cloud.put_object(BUCKET, "logs/my-app/x", file);
    let Ingested::Failed { counts, .. } = run(&cloud, &object).await else { panic!("not failed") };
    assert_eq!((counts.ok, counts.quarantined), (2, 6));
    let rows = cloud.quarantined(&object);
    let wanted = lines.iter().enumerate().filter_map(|(at, (line, reason))| Some((at, line, (*reason)?)));
    for ((ordinal, line, reason), row) in wanted.zip(&rows) {
        assert_eq!((row.ordinal, row.reason, row.count), (ordinal as u64, reason, 1));
        assert_eq!(&text[row.start as usize..row.end as usize], *line, "{reason:?}");
        let sample = String::from_utf8_lossy(&line[..line.len().min(1024)]).into_owned();
        assert_eq!(row.sample, sample, "{reason:?}");
    }
    assert_eq!(rows.len(), 6);
}
