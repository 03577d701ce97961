//! Signatures of webhooks, as Standard Webhooks defines them, for which receivers have libraries: HMAC-SHA256 of id, time and
//! body. <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::digest::InvalidLength;
use hmac::{Hmac, KeyInit, Mac};
use logferry_core::model::alert::SigningKey;
use sha2::Sha256;

/// Returns the headers of a request with this body, which is sent at `now_ms`. The id is the same at each attempt.
///
/// # Errors
/// None in practice: HMAC takes keys of any length.
pub fn signed(
    key: &SigningKey,
    id: &str,
    body: &str,
    now_ms: i64,
) -> Result<Vec<(String, String)>, InvalidLength> {
    let seconds = now_ms.div_euclid(1000).to_string();
    let mac = Hmac::<Sha256>::new_from_slice(key.bytes())?;
    let parts = [id, ".", &seconds, ".", body];
    let mac = parts.iter().fold(mac, |mac, part| mac.chain_update(part)).finalize().into_bytes();
    let headers = [
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", seconds),
        ("webhook-signature", format!("v1,{}", STANDARD.encode(mac))),
    ];
    Ok(headers.map(|(name, value)| (name.to_owned(), value)).to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_its_id_its_time_and_a_signature_of_both_and_the_body() {
        let key = SigningKey::of(*b"an example key of 32 random byte");
        let headers = signed(&key, "shop/errors/1/1", r#"{"state":"firing"}"#, 1_709_294_400_999).unwrap();
        // printf '%s' 'shop/errors/1/1.1709294400.{"state":"firing"}' |
        //   openssl dgst -sha256 -hmac 'an example key of 32 random byte' -binary | base64
        let expected = [
            ("webhook-id", "shop/errors/1/1"),
            ("webhook-timestamp", "1709294400"),
            ("webhook-signature", "v1,Hx0Qv3vd0spGmqPGkqy+xS8CV5b89I3IRuBuDUb+xKE="),
        ];
        assert_eq!(headers, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
