//! Daily quotas of an app for files. API writes: `api/limits.rs`; URLs: `functions/presign`.

use logferry_core::ledger::row::FileStatus;
use logferry_core::logfile::outcome::ReasonCode;
use logferry_core::model::object::ObjectRef;
use logferry_core::model::quota::{Quota, Used};
use logferry_core::model::time::Day;
use logferry_core::ports::usage::{Usage, UsageDay};
use logferry_ingest::Ingested;
use logferry_sim::{How, SimCloud, T0};
use logferry_tests::ingest::{BUCKET, SimIngest, event};
use logferry_tests::stack::gzip;

use crate::ingest::{cloud, deadline, function};

/// 100 bytes of content, 10 records, one of them bad.
const TEN: &[u8] = b"{\"a\":1234}\n{\"a\":1234}\n{\"a\":1234}\n{\"a\":1234}\n{broken12\n\
    {\"a\":123}\n{\"a\":123}\n{\"a\":12}\n{\"a\":1}\n{}\n";

fn with_quota(cloud: &SimCloud, quota: Quota) -> SimIngest {
    let mut function = function(cloud);
    function.settings.quota = quota;
    function
}

async fn run(function: &SimIngest, object: &ObjectRef, cloud: &SimCloud) -> Ingested {
    function.handle(&event(object), deadline(cloud)).await.unwrap().remove(0)
}

async fn used(cloud: &SimCloud) -> Used {
    let of = UsageDay { app_id: "my-app".parse().unwrap(), registered_ms: T0 - 1000, day: Day::of_ms(T0) };
    cloud.used(&of).await.unwrap()
}

#[tokio::test]
async fn a_file_is_charged_once_by_its_decompressed_bytes_and_all_its_records() {
    let cloud = cloud();
    let function = with_quota(&cloud, Quota::of(1_000, 0, 0));
    let object = cloud.put_object(BUCKET, "logs/my-app/x.gz", gzip(TEN));
    assert!(matches!(run(&function, &object, &cloud).await, Ingested::Completed { .. }));
    let once = Used { bytes: TEN.len() as u64, records: 10, files: 1 };
    assert_eq!(used(&cloud).await, once);
    for _ in 0..3 {
        assert_eq!(run(&function, &object, &cloud).await, Ingested::Duplicate);
    }
    assert_eq!(used(&cloud).await, once, "a duplicate event takes nothing in");
}

#[tokio::test]
async fn a_file_that_would_exceed_the_quota_is_failed_unread_with_a_code_that_says_which() {
    let size = TEN.len() as u64;
    for (quota, which) in [
        (Quota::of(2 * size - 1, 0, 0), "bytes"),
        (Quota::of(0, 10, 0), "records"),
        (Quota::of(0, 0, 1), "files"),
    ] {
        let cloud = cloud();
        let function = with_quota(&cloud, quota);
        let first = cloud.put_object(BUCKET, "logs/my-app/1", TEN);
        let second = cloud.put_object(BUCKET, "logs/my-app/2", TEN);
        assert!(matches!(run(&function, &first, &cloud).await, Ingested::Completed { .. }), "{which}");
        let Ingested::Failed { reason, counts } = run(&function, &second, &cloud).await else {
            panic!("{which}")
        };
        assert_eq!((reason.code, counts.bytes), (ReasonCode::QuotaExceeded, 0), "{which}");
        assert!(reason.message.contains(&format!(" {which} would be exceeded")), "{}", reason.message);
        assert_eq!(used(&cloud).await.files, 1, "what is refused is not charged");
        assert_eq!(cloud.rows().iter().filter(|row| row.status == FileStatus::Failed).count(), 1);
    }
}

#[tokio::test]
async fn a_quota_is_fresh_on_the_next_day_and_for_other_apps() {
    let cloud = cloud();
    cloud.add_app("other");
    let function = with_quota(&cloud, Quota::of(0, 0, 1));
    let objects =
        ["my-app/1", "other/1", "my-app/2"].map(|key| cloud.put_object(BUCKET, &format!("logs/{key}"), TEN));
    for object in &objects[..2] {
        assert!(matches!(run(&function, object, &cloud).await, Ingested::Completed { .. }));
    }
    cloud.clock().advance_ms(86_400_000);
    assert!(matches!(run(&function, &objects[2], &cloud).await, Ingested::Completed { .. }));
}

/// The run that ended the file charges it. A lost charge is not repeated.
#[tokio::test]
async fn a_charge_that_fails_neither_fails_the_file_nor_is_repeated() {
    let cloud = cloud();
    let function = with_quota(&cloud, Quota::NONE);
    let object = cloud.put_object(BUCKET, "logs/my-app/x", TEN);
    // Every call of an undisturbed run; the charge is the last one.
    let before = cloud.calls();
    let probe = cloud.put_object(BUCKET, "logs/my-app/probe", TEN);
    assert!(matches!(run(&function, &probe, &cloud).await, Ingested::Completed { .. }));
    let calls = cloud.calls() - before;
    let once = used(&cloud).await;
    let charge = cloud.calls() + calls - 1;
    cloud.fail_call(charge, How::ReplyLost(logferry_core::model::fault::FaultClass::Timeout));
    assert!(matches!(run(&function, &object, &cloud).await, Ingested::Completed { .. }));
    assert_eq!(cloud.faults_hit(), 1);
    assert_eq!(run(&function, &object, &cloud).await, Ingested::Duplicate);
    let twice = used(&cloud).await;
    assert_eq!((twice.files, twice.bytes), (once.files + 1, 2 * once.bytes), "it was carried out, once");
}
