//! VPC flow logs in their default format (version 2).
//! <https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html>

use super::access::is_number;
use super::cursor::present;
use super::{AccessRequest, Ask, Example, Line, Recogniser, SaidLevel};
use crate::model::level::Level;
use crate::model::stamp::{Stamp, number_ms};

const ACCEPT: &str = "2 123456789010 eni-1235b8ca123456789 172.31.16.139 172.31.16.21 20641 22 6 20 4249 1418530010 1418530070 ACCEPT OK";
const NODATA: &str = "2 123456789010 eni-1235b8ca123456789 - - - - - - - 1431280876 1431280934 - NODATA";

pub(super) static RECOGNISER: Recogniser = Recogniser {
    name: "vpc-flow",
    title: "VPC flow log, default format",
    begins: |byte| byte == b'2',
    read,
    examples: &[
        Example { line: ACCEPT, time: "2014-12-14T04:06:50.000Z", level: Level::Info, message: ACCEPT },
        Example { line: NODATA, time: "2015-05-10T18:01:16.000Z", level: Level::Info, message: NODATA },
    ],
};

/// Words of which a header line of a flow log consists: those that no sentence has, and others.
const NAMES: [&str; 5] = ["account-id", "interface-id", "srcaddr", "dstaddr", "log-status"];
const WORDS: [&str; 3] = ["version", "start", "end"];

/// Whether a line names the fields of the flow log that follows it.
#[must_use]
pub fn is_header(line: &str) -> bool {
    let known = |word: &str| NAMES.contains(&word) || WORDS.contains(&word);
    let name = |word: &str| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    let words = || line.split(' ');
    line.len() < 2048
        && words().all(name)
        && words().filter(|word| known(word)).count() >= 3
        && words().any(|word| NAMES.contains(&word))
}

fn read<'a>(text: &'a str, ask: &Ask) -> Option<Line<'a>> {
    let mut words = [""; 14];
    let mut parts = text.split(' ');
    for word in &mut words {
        *word = parts.next()?;
    }
    parts.next().is_none().then_some(())?;
    let [
        version,
        account,
        interface,
        source,
        target,
        port,
        to,
        protocol,
        packets,
        bytes,
        start,
        _,
        action,
        status,
    ] = words;
    let flow = version == "2" && is_number(account) && interface.starts_with("eni-") && is_number(start);
    flow.then_some(())?;
    let time = number_ms(start).map(|ms| Stamp { ms, assumed: false });
    let request = AccessRequest {
        remote_address: present(source),
        remote_port: present(port),
        ..AccessRequest::default()
    };
    let mut line = Line { time, level: SaidLevel::Nothing, request, ..Line::default() };
    if ask.fields {
        let all = [
            ("interface", interface),
            ("dstaddr", target),
            ("dstport", to),
            ("protocol", protocol),
            ("packets", packets),
            ("bytes", bytes),
            ("action", action),
            ("logStatus", status),
        ];
        line.more = all.into_iter().filter(|(_, value)| present(value).is_some()).collect();
    }
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_has_a_name_that_no_sentence_has() {
        assert!(is_header("version account-id interface-id srcaddr dstaddr srcport dstport start end"));
        assert!(is_header("vpc-id dstaddr start end"));
        assert!(!is_header("build version start end"));
    }
}
