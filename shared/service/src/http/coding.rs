//! `Content-Encoding` of request bodies.

use std::io::Read;

use bytes::Bytes;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

use super::ApiError;

/// The largest body after decoding (bytes): what Vector sends at most by default.
pub const MAX_DECODED_BYTES: usize = 10 * 1024 * 1024;

/// Log of the largest window of zstd (8 MiB), which every decoder should support.
/// <https://www.rfc-editor.org/rfc/rfc9659>
const MAX_WINDOW_LOG: u32 = 23;

/// Decodes a body.
///
/// # Errors
/// 415 for another coding than gzip, zstd and deflate; 400 if the body is not encoded so; 413 if it is too
/// large when it is decoded.
pub(super) fn decoded(coding: &str, bytes: Bytes) -> Result<Bytes, ApiError> {
    let broken = |error: std::io::Error| {
        ApiError::bad_request("body", format!("the body is not valid {coding}: {error}"))
    };
    match coding.trim().to_ascii_lowercase().as_str() {
        "" | "identity" => Ok(bytes),
        "gzip" | "x-gzip" => limited(MultiGzDecoder::new(&*bytes), broken),
        "zstd" => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(&*bytes).map_err(broken)?;
            decoder.window_log_max(MAX_WINDOW_LOG).map_err(broken)?;
            limited(decoder, broken)
        }
        // Clients mean either by this name: a stream of zlib begins with a header that shows it.
        "deflate" => match *bytes {
            [first, second, ..] if first & 0x0f == 8 && u16::from_be_bytes([first, second]) % 31 == 0 => {
                limited(ZlibDecoder::new(&*bytes), broken)
            }
            _ => limited(DeflateDecoder::new(&*bytes), broken),
        },
        _ => Err(ApiError::unsupported("Content-Encoding must be gzip, zstd or deflate")),
    }
}

fn limited(decoder: impl Read, broken: impl FnOnce(std::io::Error) -> ApiError) -> Result<Bytes, ApiError> {
    let mut out = Vec::new();
    decoder.take(MAX_DECODED_BYTES as u64 + 1).read_to_end(&mut out).map_err(broken)?;
    if out.len() > MAX_DECODED_BYTES {
        return Err(ApiError::too_large(format!("a decoded body must be at most {MAX_DECODED_BYTES} bytes")));
    }
    Ok(out.into())
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    fn encoded(coding: &str, plain: &[u8]) -> Bytes {
        let level = Compression::fast();
        let mut gzip = GzEncoder::new(Vec::new(), level);
        let mut zlib = ZlibEncoder::new(Vec::new(), level);
        let mut raw = DeflateEncoder::new(Vec::new(), level);
        for writer in [&mut gzip as &mut dyn std::io::Write, &mut zlib, &mut raw] {
            writer.write_all(plain).unwrap();
        }
        match coding {
            "gzip" | "x-gzip" => gzip.finish().unwrap().into(),
            "deflate" => zlib.finish().unwrap().into(),
            "raw" => raw.finish().unwrap().into(),
            "zstd" => zstd::encode_all(plain, 1).unwrap().into(),
            _ => plain.to_vec().into(),
        }
    }

    #[test]
    fn bodies_of_every_coding_are_decoded() {
        let plain = b"{\"level\":\"INFO\"}".repeat(100);
        for (coding, body) in [
            ("gzip", "gzip"),
            ("GZIP", "gzip"),
            ("x-gzip", "x-gzip"),
            ("zstd", "zstd"),
            ("deflate", "deflate"),
            ("deflate", "raw"),
            ("identity", ""),
            ("", ""),
        ] {
            assert_eq!(decoded(coding, encoded(body, &plain)).unwrap(), plain, "{coding} {body}");
        }
    }

    #[test]
    fn what_is_broken_unknown_or_expands_too_far_is_refused() {
        let refused = |coding: &str, body: Bytes| decoded(coding, body).unwrap_err().status.as_u16();
        for coding in ["br", "compress", "gzip, gzip", "?", "snappy"] {
            assert_eq!(refused(coding, Bytes::new()), 415, "{coding}");
        }
        let large = vec![0; MAX_DECODED_BYTES + 1];
        for coding in ["gzip", "zstd", "deflate"] {
            assert_eq!(refused(coding, Bytes::from_static(b"{\"a\":1}")), 400, "{coding}");
            let whole = encoded(coding, b"hello hello hello");
            assert_eq!(refused(coding, whole.slice(..whole.len() - 2)), 400, "{coding} cut off");
            assert_eq!(refused(coding, encoded(coding, &large)), 413, "{coding}");
            assert!(decoded(coding, encoded(coding, &large[1..])).is_ok(), "{coding}");
        }
    }
}
