//! The body of an answer: read up to a limit, decoded as its `Content-Encoding` says.

use std::io::Read;

use flate2::read::{MultiGzDecoder, ZlibDecoder};

/// What a probe asks for.
pub(crate) const ACCEPT_ENCODING: &str = "gzip, deflate";

/// The text of a body of which at most `max_bytes` are kept, before and after it is decoded. One in another
/// encoding, or damaged from the beginning, stays as it came. A byte order mark is no part of the text.
pub(crate) fn text(bytes: Vec<u8>, encoding: Option<&str>, max_bytes: usize) -> String {
    let encoding = encoding.unwrap_or_default().trim().to_ascii_lowercase();
    let mut decoded = Vec::new();
    // A body that was cut at the limit is read as far as it goes.
    let outcome = match encoding.as_str() {
        "gzip" | "x-gzip" => {
            MultiGzDecoder::new(bytes.as_slice()).take(max_bytes as u64).read_to_end(&mut decoded).map(|_| ())
        }
        "deflate" => {
            ZlibDecoder::new(bytes.as_slice()).take(max_bytes as u64).read_to_end(&mut decoded).map(|_| ())
        }
        _ => {
            decoded.extend_from_slice(&bytes);
            Ok(())
        }
    };
    let bytes = if outcome.is_err() && decoded.is_empty() { bytes } else { decoded };
    let text =
        String::from_utf8(bytes).unwrap_or_else(|bad| String::from_utf8_lossy(bad.as_bytes()).into_owned());
    text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};

    use super::*;

    const MAX_BYTES: usize = 1000;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn bodies_are_decoded_as_they_say_and_a_byte_order_mark_is_dropped() {
        let json = "\u{feff}{\"status\":\"ok\"}";
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::new(6));
        zlib.write_all(json.as_bytes()).unwrap();
        for (bytes, encoding) in [
            (json.as_bytes().to_vec(), None),
            (json.as_bytes().to_vec(), Some("identity")),
            (gzip(json.as_bytes()), Some("gzip")),
            (gzip(json.as_bytes()), Some(" X-Gzip ")),
            (zlib.finish().unwrap(), Some("deflate")),
        ] {
            assert_eq!(text(bytes, encoding, MAX_BYTES), "{\"status\":\"ok\"}", "{encoding:?}");
        }
    }

    #[test]
    fn what_is_decoded_is_within_the_limit_and_what_cannot_be_is_as_it_came() {
        assert_eq!(text(gzip(&vec![b'x'; 1_000_000]), Some("gzip"), MAX_BYTES).len(), MAX_BYTES);
        let whole = "a text that does not repeat itself: 0123456789".repeat(3);
        let cut = gzip(whole.as_bytes());
        assert!(whole.starts_with(&text(cut[..cut.len() - 10].to_vec(), Some("gzip"), MAX_BYTES)));
        assert_eq!(text(b"plain".to_vec(), Some("gzip"), MAX_BYTES), "plain");
        assert_eq!(text(b"plain".to_vec(), Some("br"), MAX_BYTES), "plain");
    }
}
