//! S3's server access log.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/LogFormat.html>

use super::access::{line, request_line, status};
use super::cursor::{Cursor, present};
use super::{AccessRequest, Ask, Example, Line, Recogniser};
use crate::model::level::Level;
use crate::model::stamp::clf;

const LINE: &str = r#"79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be amzn-s3-demo-bucket1 [06/Feb/2019:00:00:38 +0000] 192.0.2.3 79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be 3E57427F3EXAMPLE REST.GET.VERSIONING - "GET /amzn-s3-demo-bucket1?versioning HTTP/1.1" 404 NoSuchKey 113 - 7 - "-" "S3Console/0.4" - s9lzHYrFp76ZVxRcpX9+5cjAnEH2ROuNkd2BHfIa6UkFVdtjf5mKR3/eTPFvsiP/XV/VLi31234= SigV4 ECDHE-RSA-AES128-GCM-SHA256 AuthHeader amzn-s3-demo-bucket1.s3.us-west-1.amazonaws.com TLSV1.2 - -"#;

pub(super) static RECOGNISER: Recogniser = Recogniser {
    name: "s3-access",
    title: "S3 server access log",
    begins: |byte| byte.is_ascii_hexdigit(),
    read,
    examples: &[Example { line: LINE, time: "2019-02-06T00:00:38.000Z", level: Level::Warn, message: LINE }],
};

fn read<'a>(text: &'a str, ask: &Ask) -> Option<Line<'a>> {
    let mut cursor = Cursor::new(text);
    cursor.word().filter(|owner| owner.len() == 64)?;
    let bucket = cursor.word()?;
    let time = cursor.between("[", "]")?;
    let (stamp, _) = clf(time)?;
    let (client, _requester, id) = (cursor.word()?, cursor.word()?, cursor.word()?);
    let (operation, key) = (cursor.word()?, cursor.word()?);
    let (method, url) = request_line(cursor.quoted_or_word()?);
    let status = status(cursor.word()?);
    let (error, bytes, _size, total) = (cursor.word()?, cursor.word()?, cursor.word()?, cursor.word()?);
    let request = AccessRequest {
        id: present(id),
        method,
        url,
        remote_address: present(client),
        remote_port: None,
        status,
        processing_ms: total.parse().ok().filter(|ms: &f64| ms.is_finite()),
    };
    let mut read = line(Some(stamp), request);
    if ask.fields {
        let all = [
            ("bucket", bucket),
            ("operation", operation),
            ("key", key),
            ("errorCode", error),
            ("sentBytes", bytes),
        ];
        read.more = all.into_iter().filter(|(_, value)| present(value).is_some()).collect();
    }
    Some(read)
}
