//! CloudFront's standard log in its default order of fields.
//! <https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/standard-logs-reference.html>

use super::access::{line, seconds_ms, status};
use super::cursor::present;
use super::{AccessRequest, Ask, Example, Line, Recogniser, digit};
use crate::model::level::Level;
use crate::model::stamp::{Stamp, iso};

const LINE: &str = "2019-12-04\t21:02:31\tLAX1\t392\t192.0.2.100\tGET\td111111abcdef8.cloudfront.net\t/index.html\t200\t-\tMozilla/5.0\t-\t-\tHit\tSOX4xwn4XV6Q4rgb7XiVGOHms_BGlTAC4KyHmureZmBNrjGdRLiNIQ==\td111111abcdef8.cloudfront.net\thttps\t23\t0.001\t-\tTLSv1.2\tECDHE-RSA-AES128-GCM-SHA256\tHit\tHTTP/2.0\t-\t-\t11040\t0.001\tHit\ttext/html\t78\t-\t-";

pub(super) static RECOGNISER: Recogniser = Recogniser {
    name: "cloudfront",
    title: "CloudFront standard log",
    begins: digit,
    read,
    examples: &[Example { line: LINE, time: "2019-12-04T21:02:31.000Z", level: Level::Info, message: LINE }],
};

fn read<'a>(text: &'a str, ask: &Ask) -> Option<Line<'a>> {
    (text.as_bytes().get(10) == Some(&b'\t')).then_some(())?;
    let mut words = text.split('\t');
    let (date, time) = (words.next()?, words.next()?);
    let (edge, bytes, client, method) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let (host, url, code) = (words.next()?, words.next()?, words.next()?);
    let (referer, agent, _query, _cookie) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let (result, id, _host, _protocol, _sent) =
        (words.next()?, words.next()?, words.next()?, words.next()?, words.next()?);
    let taken = words.next()?;
    let (stamp, _) = iso(&format!("{date}T{time}Z"))?;
    let request = AccessRequest {
        id: present(id),
        method: present(method),
        url: present(url),
        remote_address: present(client),
        remote_port: None,
        status: status(code),
        processing_ms: seconds_ms(taken),
    };
    let mut read = line(Some(Stamp { assumed: false, ..stamp }), request);
    if ask.fields {
        let all = [
            ("edgeLocation", edge),
            ("sentBytes", bytes),
            ("host", host),
            ("referer", referer),
            ("userAgent", agent),
            ("edgeResultType", result),
        ];
        read.more = all.into_iter().filter(|(_, value)| present(value).is_some()).collect();
    }
    Some(read)
}
