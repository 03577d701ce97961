//! Log files.

use logferry_upload_client::{Attendee, Error};

use crate::service::{Folder, Service, Trouble};

#[tokio::test]
async fn what_is_not_compressed_is_on_the_way_and_what_is_stays() {
    let (service, folder) = (Service::start().await, Folder::new("logs"));
    let gzip = [0x1f, 0x8b, 8, 0, 1];
    let attendee = Attendee { meeting: "m".to_owned(), attendee: "a".to_owned() };
    let plain =
        service.client().upload_log(&folder.file("a b.log", b"one\n"), Some(&attendee)).await.unwrap();
    let packed = service.client().upload_log(&folder.file("b.gz", &gzip), None).await.unwrap();
    let empty = service.client().upload_log(&folder.file("empty.log", b""), None).await.unwrap();
    let state = service.state.lock().unwrap();
    assert!(plain.ends_with("a_b.log"), "{plain}");
    assert_eq!(state.logs[&packed], gzip);
    for (key, content) in [(&plain, "one\n"), (&empty, "")] {
        let unpacked = std::io::read_to_string(flate2::read::GzDecoder::new(state.logs[key].as_slice()));
        assert_eq!(unpacked.unwrap(), content);
    }
}

#[tokio::test]
async fn a_file_whose_answer_was_lost_is_stored_once() {
    let (service, folder) = (Service::start().await, Folder::new("lost-log"));
    service.trouble("PUT /log", Trouble::LoseAnswer);
    let key = service.client().upload_log(&folder.file("a.log", b"one\n"), None).await.unwrap();
    let state = service.state.lock().unwrap();
    assert_eq!(state.logs.keys().collect::<Vec<_>>(), [&key]);
}

#[tokio::test]
async fn a_file_that_an_earlier_attempt_is_still_storing_is_sent_again() {
    let (service, folder) = (Service::start().await, Folder::new("conflict-log"));
    service.trouble("PUT /log", Trouble::Status(409));
    let key = service.client().upload_log(&folder.file("a.log", b"one\n"), None).await.unwrap();
    assert_eq!(service.asked("PUT /log"), 2);
    assert!(service.state.lock().unwrap().logs.contains_key(&key));
}

#[tokio::test]
async fn a_url_that_expired_is_replaced_and_a_credential_that_is_wrong_is_not_tried_again() {
    let (service, folder) = (Service::start().await, Folder::new("refused-log"));
    let file = folder.file("a.log", b"one\n");
    service.trouble("PUT /log", Trouble::Status(403));
    service.client().upload_log(&file, None).await.unwrap();
    assert_eq!(service.asked("POST /presigned-url"), 2);

    service.trouble("POST /presigned-url", Trouble::Status(403));
    let refused = service.client().upload_log(&file, None).await.unwrap_err();
    assert!(matches!(refused, Error::Refused { status: 403, .. }), "{refused:?}");
    assert_eq!(service.asked("POST /presigned-url"), 3);
    let missing = service.client().upload_log(&folder.0.join("none"), None).await.unwrap_err();
    assert!(missing.to_string().ends_with("none cannot be read"), "{missing}");
}
