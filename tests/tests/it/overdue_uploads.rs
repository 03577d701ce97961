//! Overdue upload sessions are ended by one run of `sweep`, however they come in pages.

use std::time::Duration;

use logferry_core::model::fault::FaultClass;
use logferry_core::uploads::session::{Session, SessionStatus};
use logferry_core::uploads::table::{Multipart, OpenLimits, Sessions};
use logferry_sim::{How, SimCloud, T0};
use logferry_sweep::uploads::EndedUploads;
use logferry_sweep::{Part, Uploads};
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn a_run_ends_all_overdue_sessions_but_those_that_fail() {
    let cloud = SimCloud::default();
    for number in 0..20 {
        let key = format!("uploads/my-app/jo/{number}/film.mp4");
        let session = Session {
            upload_id: cloud.create(&key, "video/mp4", &[]).await.unwrap(),
            app_id: "my-app".parse().unwrap(),
            registered_ms: 0,
            subject: "jo".parse().unwrap(),
            bucket: "bucket".to_owned(),
            key,
            filename: "film.mp4".to_owned(),
            content_type: "video/mp4".to_owned(),
            size_bytes: None,
            max_bytes: 1_000,
            status: SessionStatus::Open,
            created_ms: T0 - 2_000,
            expires_ms: T0 - 1_000 + number,
        };
        cloud.open(&session, OpenLimits { per_app: 100, per_subject: 100 }).await.unwrap();
    }
    let uploads = Uploads { sessions: cloud.clone(), multipart: cloud.clone(), clock: cloud.clock() };
    // A call of the first page.
    cloud.fail_call(cloud.calls() + 2, How::Before(FaultClass::Transient));
    let ended = async || uploads.run(Instant::now() + Duration::from_secs(60)).await.unwrap();
    assert_eq!(ended().await, EndedUploads { aborted: 19, completed: 0, failed: 1 });
    assert_eq!(ended().await, EndedUploads { aborted: 1, completed: 0, failed: 0 });
    assert_eq!(cloud.open_uploads(), 0);
}
