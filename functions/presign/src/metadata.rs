//! User metadata of S3 objects.

use crate::companion::Refusal;

/// Maximum size of the user metadata of an object, names and values (bytes).
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html>
const MAX_METADATA_BYTES: usize = 2_048;

/// Converts metadata for S3: names in lower case, and non-ASCII values encoded by RFC 2047.
pub(crate) fn s3_metadata(metadata: &[(String, String)]) -> Result<Vec<(String, String)>, Refusal> {
    let mut bytes = 0;
    let mut taken: Vec<(String, String)> = Vec::new();
    for (name, value) in metadata {
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if name.is_empty() || !name.bytes().all(legal) {
            return Err(Refusal::bad_request("metadata names must be letters, digits, '-', '_' and '.'"));
        }
        let name = name.to_ascii_lowercase();
        let value = if is_plain(value) { value.clone() } else { rfc2047(value) };
        bytes += name.len() + value.len();
        // Before the comparison with all others: few names fit.
        if bytes > MAX_METADATA_BYTES {
            return Err(Refusal::bad_request(format!("metadata must be at most {MAX_METADATA_BYTES} bytes")));
        }
        if taken.iter().any(|(other, _)| *other == name) {
            return Err(Refusal::bad_request("metadata names must differ in more than case"));
        }
        taken.push((name, value));
    }
    Ok(taken)
}

fn is_plain(value: &str) -> bool {
    value.bytes().all(|b| (b' '..=b'~').contains(&b)) && value.trim() == value
}

fn rfc2047(value: &str) -> String {
    use base64::Engine as _;
    format!("=?UTF-8?B?{}?=", base64::prelude::BASE64_STANDARD.encode(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Comparing each name with all others would take minutes.
    #[test]
    fn of_very_many_names_only_those_that_fit_are_compared() {
        let names: Vec<_> = (0..400_000).map(|number| (format!("name-{number}"), String::new())).collect();
        assert!(s3_metadata(&names).is_err());
        let longest = [("n".to_owned(), "v".repeat(MAX_METADATA_BYTES - 1))];
        assert_eq!(s3_metadata(&longest).unwrap(), longest);
        let longer = [("n".to_owned(), "v".repeat(MAX_METADATA_BYTES))];
        assert!(s3_metadata(&longer).is_err());
    }
}
