//! Large files.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use logferry_upload_client::{Client, Credential, Error, Event, Upload, Uploaded};

use crate::service::{Folder, Service, Trouble};

const CONTENT: &[u8] = b"the first part. the second one. and the rest";

fn upload(service: &Service, folder: &Folder, file: &Path) -> Upload {
    Upload::new(service.client(), file, folder.state())
}

fn object(service: &Service) -> Option<String> {
    service.state.lock().unwrap().object.as_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}

fn whole(uploaded: &Uploaded, sent_bytes: usize) {
    assert_eq!((uploaded.key.as_str(), uploaded.location.as_str()), ("k", "http://there/k"));
    assert_eq!((uploaded.size_bytes, uploaded.sent_bytes), (CONTENT.len() as u64, sent_bytes as u64));
}

async fn until_asked(service: &Service, request: &str) {
    while service.asked(request) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_file_is_uploaded_in_parts_and_leaves_no_state() {
    let (service, folder) = (Service::start().await, Folder::new("whole"));
    let file = folder.file("film.mp4", CONTENT);
    let events = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&events);
    let upload = upload(&service, &folder, &file).content_type("video/mp4").on_event(move |event| {
        heard.lock().unwrap().push(format!("{event:?}"));
    });
    whole(&upload.run().await.unwrap(), CONTENT.len());
    assert_eq!(object(&service).unwrap().as_bytes(), CONTENT);
    assert_eq!(std::fs::read_dir(folder.state()).unwrap().count(), 0);
    let events = events.lock().unwrap().clone();
    assert_eq!(events[0], "Begin { there_bytes: 0, total_bytes: 44 }");
    assert_eq!(events.last().unwrap(), "Progress { bytes: 44 }");
    assert!(!upload.cancel().await.unwrap(), "there is nothing to cancel");
}

#[tokio::test]
async fn whatever_fails_in_passing_is_tried_again_and_a_refused_url_is_replaced() {
    let (service, folder) = (Service::start().await, Folder::new("passing"));
    for (request, trouble) in [
        ("POST /s3/multipart", Trouble::Status(503)),
        ("GET /s3/multipart/u1?", Trouble::LoseAnswer),
        ("GET /s3/multipart/u1/2", Trouble::Status(500)),
        ("PUT /part/3", Trouble::Status(403)),
        ("PUT /part/4", Trouble::LoseAnswer),
        ("POST /s3/multipart/u1/complete", Trouble::LoseAnswer),
    ] {
        service.trouble(request, trouble);
    }
    let file = folder.file("film.mp4", CONTENT);
    whole(&upload(&service, &folder, &file).run().await.unwrap(), CONTENT.len());
    assert_eq!(object(&service).unwrap().as_bytes(), CONTENT);
    assert_eq!(service.state.lock().unwrap().troubles, []);
    assert_eq!(service.asked("GET /s3/multipart/u1/3"), 2, "a fresh URL after the 403");
    assert_eq!(service.asked("POST /s3/multipart/u1/complete"), 2);
}

#[tokio::test]
async fn a_dropped_run_is_resumed_and_sends_only_the_rest() {
    let (service, folder) = (Service::start().await, Folder::new("dropped"));
    let file = folder.file("film.mp4", CONTENT);
    service.trouble("PUT /part/3", Trouble::Hang);
    let upload = upload(&service, &folder, &file).parallel(1);
    let run = upload.run();
    tokio::select! {
        ended = run => panic!("{ended:?}"),
        () = until_asked(&service, "PUT /part/3") => {}
    }
    assert!(matches!(upload.run().await, Ok(uploaded) if uploaded.sent_bytes == 44 - 16));
    assert_eq!(object(&service).unwrap().as_bytes(), CONTENT);
    assert_eq!([1, 2, 3].map(|n| service.asked(&format!("PUT /part/{n}"))), [1, 1, 2]);
}

#[tokio::test]
async fn a_second_run_of_the_same_file_is_refused_as_in_use() {
    let (service, folder) = (Service::start().await, Folder::new("twice"));
    let file = folder.file("film.mp4", CONTENT);
    service.trouble("PUT /part/1", Trouble::Hang);
    let upload = upload(&service, &folder, &file);
    let first = tokio::spawn({
        let upload = upload.clone();
        async move { upload.run().await }
    });
    until_asked(&service, "PUT /part/1").await;
    for ended in [upload.run().await.err(), upload.cancel().await.err()] {
        assert!(matches!(ended, Some(Error::InUse { .. })), "{ended:?}");
    }
    first.abort();
    let _ = first.await;
    assert!(upload.cancel().await.unwrap());
    assert!(service.state.lock().unwrap().ended);
}

#[tokio::test]
async fn what_the_service_refuses_ends_at_once() {
    let (service, folder) = (Service::start().await, Folder::new("refused"));
    let file = folder.file("film.mp4", CONTENT);
    for (request, status) in [("POST /s3/multipart", 401), ("GET /s3/multipart/u1/", 403)] {
        service.trouble(request, Trouble::Status(status));
        let refused = upload(&service, &folder, &file).parallel(1).run().await.unwrap_err();
        assert_eq!(refused.refused_status(), Some(status));
        assert_eq!(refused.to_string(), format!("s3: in trouble ({status})"));
        assert_eq!(service.asked(request), 1, "{request}");
        // A session that was never created leaves no state to resume.
        let kept = usize::from(status != 401);
        assert_eq!(std::fs::read_dir(folder.state()).unwrap().count(), kept, "{request}");
    }
}

/// Five minutes for 300 bytes, on a paused clock: longer than the stall timeout, and each part takes all of
/// it.
#[tokio::test(start_paused = true)]
async fn a_slow_line_is_no_reason_to_give_up_and_one_that_stands_still_is() {
    let (service, folder) = (Service::start().await, Folder::new("slow"));
    let file = folder.file("film.mp4", &CONTENT.repeat(7)[..300]);
    let begin = tokio::time::Instant::now();
    let retries = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&retries);
    let slow = upload(&service, &folder, &file).parallel(60).limit_rate(1).on_event(move |event| {
        if matches!(event, Event::Retry { .. }) {
            *counted.lock().unwrap() += 1;
        }
    });
    assert_eq!(slow.run().await.unwrap().sent_bytes, 300);
    assert_eq!(*retries.lock().unwrap(), 0);
    assert!(begin.elapsed() >= Duration::from_secs(299));

    service.state.lock().unwrap().object = None;
    let file = folder.file("other.mp4", CONTENT);
    service.trouble("PUT /part/1", Trouble::Hang);
    whole(&upload(&service, &folder, &file).run().await.unwrap(), CONTENT.len());
}

#[tokio::test]
async fn a_changed_file_restarts_and_one_that_changes_during_its_upload_completes_nothing() {
    let (service, folder) = (Service::start().await, Folder::new("changed"));
    let file = folder.file("film.mp4", CONTENT);
    service.trouble("GET /s3/multipart/u1/", Trouble::Status(403));
    upload(&service, &folder, &file).run().await.unwrap_err();
    folder.file("film.mp4", b"something else");
    upload(&service, &folder, &file).run().await.unwrap();
    assert_eq!(object(&service).unwrap(), "something else");
    assert_eq!(service.asked("DELETE /s3/multipart/u1"), 1);

    service.state.lock().unwrap().object = None;
    folder.file("film.mp4", CONTENT);
    let cut = file.clone();
    let shrinking = upload(&service, &folder, &file).parallel(1).on_event(move |event| {
        if matches!(event, Event::Progress { .. }) {
            std::fs::write(&cut, b"cut").unwrap();
        }
    });
    let changed = shrinking.run().await.unwrap_err();
    assert!(matches!(changed, Error::Changed { .. }), "{changed:?}");
    assert_eq!(object(&service), None);
}

#[tokio::test]
async fn a_session_ended_elsewhere_is_restarted_by_the_next_run() {
    let (service, folder) = (Service::start().await, Folder::new("ended"));
    let file = folder.file("film.mp4", CONTENT);
    service.trouble("GET /s3/multipart/u1/2", Trouble::Status(403));
    upload(&service, &folder, &file).run().await.unwrap_err();
    service.state.lock().unwrap().ended = true;
    whole(&upload(&service, &folder, &file).run().await.unwrap(), CONTENT.len());
    assert_eq!(service.state.lock().unwrap().sessions, 2);
}

#[tokio::test]
async fn what_is_no_file_to_upload_is_named() {
    let (service, folder) = (Service::start().await, Folder::new("no-file"));
    for (file, said) in [
        (folder.file("empty.mp4", b""), "empty.mp4 is empty: an upload needs at least one byte"),
        (folder.0.clone(), " is not a regular file"),
        (folder.0.join("none"), "none cannot be read"),
    ] {
        let error = upload(&service, &folder, &file).run().await.unwrap_err().to_string();
        assert!(error.ends_with(said), "{error}");
    }
    assert_eq!(service.state.lock().unwrap().asked, [""; 0]);
    for base in ["nowhere", "ftp://a", ""] {
        let refused = Client::new(base, Credential::Token("t".to_owned())).unwrap_err();
        assert!(matches!(refused, Error::Unusable(_)), "{base}: {refused:?}");
    }
}

/// An upload may be spawned.
#[tokio::test]
async fn a_run_can_move_between_threads_and_no_credential_is_shown() {
    fn is_send(_: &impl Send) {}
    let (service, folder) = (Service::start().await, Folder::new("send"));
    let upload = upload(&service, &folder, Path::new("x"));
    is_send(&upload.run());
    is_send(&upload.cancel());
    assert!(!format!("{upload:?}").contains("\"k\""), "{upload:?}");
}
