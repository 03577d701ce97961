//! gzip of answers, for clients that accept it: API Gateway's HTTP APIs do not compress.

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderValue};

/// Smaller bodies (bytes) fit into a packet and stay as they are.
const MIN_BYTES: usize = 1_024;
/// Beginnings of the content types that shrink.
const TEXTS: [&str; 4] = ["text/", "application/json", "application/x-ndjson", "image/svg+xml"];

/// Whether a request accepts gzip: it names it, or `*`, without `q=0`.
#[must_use]
pub(crate) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let wishes = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let mut any = None;
    for wish in wishes.flat_map(|text| text.split(',')) {
        let mut parts = wish.split(';').map(str::trim);
        let coding = parts.next().unwrap_or_default();
        let quality = parts.find_map(|part| part.strip_prefix("q=")).unwrap_or("1");
        let accepted = quality.parse::<f32>().is_ok_and(|quality| quality > 0.0);
        match coding {
            coding if coding.eq_ignore_ascii_case("gzip") => return accepted,
            "*" => any = Some(accepted),
            _ => {}
        }
    }
    any.unwrap_or(false)
}

/// Returns the body of an answer, compressed if that is accepted and worthwhile, and sets the headers that say so.
pub(crate) fn compressed(headers: &mut HeaderMap, body: Bytes, accepted: bool) -> Bytes {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let shrinks = TEXTS.iter().any(|text| kind.starts_with(text));
    if body.len() < MIN_BYTES || !shrinks || headers.contains_key(CONTENT_ENCODING) {
        return body;
    }
    headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    if !accepted {
        return body;
    }
    // The fastest level: the time that better ones take is longer than what they save on the way.
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    match encoder.write_all(&body).and_then(|()| encoder.finish()) {
        Ok(smaller) => {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            smaller.into()
        }
        // Writing into memory does not fail; if it did, the body is still right as it is.
        Err(_) => body,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn gzip_is_accepted_where_it_is_named_and_not_excluded() {
        for (wish, accepted) in [
            ("gzip", true),
            ("gzip, deflate, br, zstd", true),
            ("br;q=1.0, GZIP;q=0.5", true),
            ("*", true),
            ("*;q=0, gzip", true),
            ("gzip;q=0, *", false),
            ("identity", false),
            ("br", false),
            ("", false),
        ] {
            assert_eq!(accepts_gzip(&headers(&[("accept-encoding", wish)])), accepted, "{wish}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }

    #[test]
    fn a_long_text_is_compressed_for_those_that_accept_it_and_caches_are_warned() {
        let body = Bytes::from("log ".repeat(1_000));
        let mut said = headers(&[("content-type", "application/json")]);
        let smaller = compressed(&mut said, body.clone(), true);
        assert_eq!(
            (&said["content-encoding"], &said["vary"]),
            (&"gzip".parse().unwrap(), &"Accept-Encoding".parse().unwrap())
        );
        let mut back = Vec::new();
        flate2::read::GzDecoder::new(&*smaller).read_to_end(&mut back).unwrap();
        assert_eq!(back, body);
        assert!(smaller.len() < 200);

        let mut said = headers(&[("content-type", "application/json")]);
        assert_eq!(compressed(&mut said, body.clone(), false), body);
        assert!(said.contains_key("vary") && !said.contains_key("content-encoding"));
    }

    #[test]
    fn what_is_short_or_compressed_already_stays_as_it_is() {
        let long = Bytes::from(vec![b'x'; 5_000]);
        for (kind, body) in [
            (vec![("content-type", "application/json")], Bytes::from_static(b"{}")),
            (vec![("content-type", "image/png")], long.clone()),
            (vec![("content-type", "text/html"), ("content-encoding", "br")], long.clone()),
            (vec![], long.clone()),
        ] {
            let mut said = headers(&kind);
            assert_eq!(compressed(&mut said, body.clone(), true), body);
            assert_eq!(said.len(), kind.len());
        }
    }
}
