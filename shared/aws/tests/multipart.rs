//! Responses of S3 that look like success but are not, through the real SDK, over loopback.
#![cfg(feature = "s3")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on stops")]

use logferry_aws::client::AwsEnv;
use logferry_aws::multipart::S3Multipart;
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_core::uploads::session::ListedPart;
use logferry_core::uploads::table::Multipart;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// An S3 that answers each request with the next response, the last one repeatedly; and the requests that
/// it received.
async fn s3_answering(answers: Vec<String>) -> (S3Multipart, std::sync::Arc<std::sync::Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let heard = std::sync::Arc::clone(&asked);
    tokio::spawn(async move {
        let mut answers = answers.into_iter().peekable();
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !is_whole(&request) {
                if socket.read_buf(&mut request).await.unwrap_or(0) == 0 {
                    break;
                }
            }
            heard.lock().unwrap().push(String::from_utf8_lossy(&request).into_owned());
            let Some(answer) = answers.next() else { return };
            if answers.peek().is_none() {
                answers = vec![answer.clone(), answer.clone()].into_iter().peekable();
                answers.next();
            }
            let _ = socket.write_all(answer.as_bytes()).await;
            let _ = socket.shutdown().await;
        }
    });
    let env = AwsEnv::from_lookup(|name| {
        Some(match name {
            "AWS_REGION" => "us-east-1".to_owned(),
            "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => "x".to_owned(),
            "AWS_ENDPOINT_URL_S3" => url.clone(),
            _ => return None,
        })
    });
    (S3Multipart::new(env.unwrap().s3(), "bucket"), asked)
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let head = head.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    body.len() >= length.and_then(|length| length.trim().parse().ok()).unwrap_or(0)
}

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

async fn complete(answers: &[String]) -> (Result<(), Fault>, Vec<String>) {
    let (s3, asked) = s3_answering(answers.to_vec()).await;
    let parts =
        [ListedPart { number: 1, etag: "a".to_owned() }, ListedPart { number: 2, etag: "b".to_owned() }];
    let ended = s3.complete("uploads/k", "id", &parts, 13).await;
    let asked = asked.lock().unwrap().clone();
    (ended, asked)
}

#[tokio::test]
async fn completing_sends_parts_in_order_and_the_size_that_must_come_out() {
    let done = "<CompleteMultipartUploadResult><ETag>\"e-2\"</ETag></CompleteMultipartUploadResult>";
    let (ended, asked) = complete(&[answer("200 OK", done)]).await;
    ended.unwrap();
    assert!(asked[0].to_ascii_lowercase().contains("x-amz-mp-object-size: 13\r\n"), "{}", asked[0]);
    let parts = "<Part><ETag>&quot;a&quot;</ETag><PartNumber>1</PartNumber></Part>\
                 <Part><ETag>&quot;b&quot;</ETag><PartNumber>2</PartNumber></Part>";
    assert!(asked[0].replace('"', "&quot;").contains(parts), "{}", asked[0]);
}

#[tokio::test]
async fn an_error_inside_of_a_200_is_an_error() {
    let error = |code: &str| format!("<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code></Error>");
    for (body, class, code) in [
        (error("InternalError"), FaultClass::Transient, "InternalError"),
        // S3 sends white space while it works, then the result.
        (error("SlowDown").replace('\n', "\n   \n  "), FaultClass::RateLimited, "SlowDown"),
        (error("InvalidPart"), FaultClass::Permanent, "InvalidPart"),
        (error("NoSuchUpload"), FaultClass::NotFound, "NoSuchUpload"),
    ] {
        let (ended, _) = complete(&[answer("200 OK", &body)]).await;
        let fault = ended.unwrap_err();
        assert_eq!((fault.class, fault.code.as_str()), (class, code), "{body}");
    }
}

#[tokio::test]
async fn a_200_that_says_nothing_is_no_success() {
    let empty = "<CompleteMultipartUploadResult></CompleteMultipartUploadResult>";
    for body in ["", "   ", "<?xml version=\"1.0\"?>   ", empty] {
        let (ended, _) = complete(&[answer("200 OK", body)]).await;
        assert!(ended.unwrap_err().retryable(), "{body:?}");
    }
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n<CompleteMultipartUploadResult>".to_owned();
    assert!(complete(&[cut]).await.0.unwrap_err().retryable());
}

#[tokio::test]
async fn all_pages_of_parts_are_read() {
    let page = |from: u32, to: u32, truncated: bool| {
        let parts: String = (from..=to)
            .map(|n| format!("<Part><PartNumber>{n}</PartNumber><ETag>\"e{n}\"</ETag><Size>5</Size></Part>"))
            .collect();
        let next = if truncated {
            format!("<NextPartNumberMarker>{to}</NextPartNumberMarker>")
        } else {
            String::new()
        };
        answer(
            "200 OK",
            &format!(
                "<ListPartsResult><IsTruncated>{truncated}</IsTruncated>{next}{parts}</ListPartsResult>"
            ),
        )
    };
    let (s3, asked) =
        s3_answering(vec![page(1, 1000, true), page(1001, 2000, true), page(2001, 2003, false)]).await;
    let parts = s3.parts("k", "id").await.unwrap();
    let numbers: Vec<_> = parts.iter().map(|part| part.number).collect();
    assert_eq!(numbers, (1..=2003).collect::<Vec<_>>());
    assert_eq!(parts[2002].etag, "e2003");
    let markers: Vec<_> = asked.lock().unwrap().iter().map(|r| r.contains("part-number-marker=")).collect();
    assert_eq!(markers, [false, true, true]);
}

#[tokio::test]
async fn a_page_that_hides_where_the_next_begins_is_an_error_and_not_an_end() {
    let lost = "<ListPartsResult><IsTruncated>true</IsTruncated></ListPartsResult>";
    let (s3, _) = s3_answering(vec![answer("200 OK", lost)]).await;
    assert!(s3.parts("k", "id").await.unwrap_err().retryable());
}
