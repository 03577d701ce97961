//! Presigned uploads: URLs and form policies that allow a client without AWS credentials to put one object,
//! and nothing else, for a few minutes. Signed here with `aws-sigv4`: the SDK's presigner turns metadata
//! into signed *headers*, which a client that only has the URL would not send.
//!
//! No checksum parameter is added: a browser's PUT would then fail with BadDigest.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html>

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_core::model::time::rfc3339_ms;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

/// Characters that SigV4 does not encode; a key's slashes are not encoded either.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const PATH: &AsciiSet = &QUERY.remove(b'/');

/// Signs uploads to one bucket.
#[derive(Debug, Clone)]
pub struct Presigner {
    credentials: Credentials,
    identity: Identity,
    region: String,
    bucket: String,
    /// Scheme and host, without trailing slash.
    origin: String,
    /// `/{bucket}` if the host does not contain the bucket, else empty.
    root: String,
}

/// A PUT of one object.
#[derive(Debug, Clone, Copy)]
pub struct Put<'a> {
    pub key: &'a str,
    /// Signed as a header: the client must send exactly this.
    pub content_type: Option<&'a str>,
    /// Signed as a header: a body of another length is rejected (bytes).
    pub content_length: Option<u64>,
    /// Signed query parameters `x-amz-meta-{name}`; names in lower case.
    pub metadata: &'a [(&'a str, &'a str)],
    pub expires_secs: u32,
}

/// A PUT of one part of a multipart upload.
#[derive(Debug, Clone, Copy)]
pub struct PutPart<'a> {
    pub key: &'a str,
    pub upload_id: &'a str,
    pub part_number: u32,
    /// Signed as a header: a part of another length is rejected (bytes).
    pub content_length: Option<u64>,
    pub expires_secs: u32,
}

/// A form upload of one object.
#[derive(Debug, Clone, Copy)]
pub struct Post<'a> {
    pub key: &'a str,
    pub content_type: Option<&'a str>,
    pub metadata: &'a [(&'a str, &'a str)],
    /// S3's success status, if not 204.
    pub success_status: Option<u16>,
    /// Minimum and maximum size of the file (bytes).
    pub length_bytes: (u64, u64),
    pub expires_secs: u32,
}

/// The URL of a form, and the fields that must precede its file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct PostForm {
    /// Ends with `/`.
    pub url: String,
    #[serde(serialize_with = "as_map")]
    pub fields: Vec<(String, String)>,
}

fn as_map<S: serde::Serializer>(fields: &[(String, String)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(fields.iter().map(|(name, value)| (name, value)))
}

impl Presigner {
    /// Signs for AWS, with the bucket in the host; or for another endpoint, with the bucket in the path.
    #[must_use]
    pub fn new(credentials: Credentials, region: &str, bucket: &str, endpoint: Option<&str>) -> Self {
        let (origin, root) = address(region, bucket, endpoint);
        Self {
            identity: credentials.clone().into(),
            credentials,
            region: region.to_owned(),
            bucket: bucket.to_owned(),
            origin,
            root,
        }
    }

    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Returns the URL of the object.
    #[must_use]
    pub fn location(&self, key: &str) -> String {
        format!("{}{}/{}", self.origin, self.root, utf8_percent_encode(key, PATH))
    }

    /// Returns a URL for one PUT of this object.
    ///
    /// # Errors
    /// `Permanent` if the request cannot be signed.
    pub fn put(&self, put: &Put<'_>, now_ms: i64) -> Result<String, Fault> {
        let metadata: Vec<_> =
            put.metadata.iter().map(|(name, value)| (format!("x-amz-meta-{name}"), *value)).collect();
        let query: Vec<_> = metadata.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let length = put.content_length.map(|length| length.to_string());
        let headers = [("content-length", length.as_deref()), ("content-type", put.content_type)];
        self.url("PUT", put.key, &query, &headers, put.expires_secs, now_ms)
    }

    /// Returns a URL for one PUT of this part.
    ///
    /// # Errors
    /// `Permanent` if the request cannot be signed.
    pub fn put_part(&self, part: &PutPart<'_>, now_ms: i64) -> Result<String, Fault> {
        let number = part.part_number.to_string();
        let query = [("partNumber", number.as_str()), ("uploadId", part.upload_id)];
        let length = part.content_length.map(|length| length.to_string());
        let headers = [("content-length", length.as_deref())];
        self.url("PUT", part.key, &query, &headers, part.expires_secs, now_ms)
    }

    fn url(
        &self,
        method: &str,
        key: &str,
        query: &[(&str, &str)],
        headers: &[(&str, Option<&str>)],
        expires_secs: u32,
        now_ms: i64,
    ) -> Result<String, Fault> {
        let mut url = self.location(key);
        for (index, (name, value)) in query.iter().enumerate() {
            push_pair(&mut url, index == 0, name, value);
        }
        let mut settings = SigningSettings::default();
        settings.signature_location = SignatureLocation::QueryParams;
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.expires_in = Some(Duration::from_secs(expires_secs.into()));
        let params = v4::SigningParams::builder()
            .identity(&self.identity)
            .region(&self.region)
            .name("s3")
            .time(system_time(now_ms))
            .settings(settings)
            .build()
            .map_err(unsigned)?
            .into();
        let headers = headers.iter().filter_map(|(name, value)| Some((*name, (*value)?)));
        let request = SignableRequest::new(method, &url, headers, SignableBody::UnsignedPayload);
        let (instructions, _) = sign(request.map_err(unsigned)?, &params).map_err(unsigned)?.into_parts();
        let mut first = query.is_empty();
        for (name, value) in instructions.params() {
            push_pair(&mut url, first, name, value);
            first = false;
        }
        Ok(url)
    }

    /// Returns a form for one file with this key.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html>
    #[must_use]
    pub fn post(&self, post: &Post<'_>, now_ms: i64) -> PostForm {
        let date = amz_date(now_ms);
        let scope = format!("{}/{}/s3/aws4_request", &date[..8], self.region);
        let mut fields = vec![("key".to_owned(), post.key.to_owned())];
        let mut field = |name: &str, value: &str| fields.push((name.to_owned(), value.to_owned()));
        if let Some(content_type) = post.content_type {
            field("Content-Type", content_type);
        }
        if let Some(status) = post.success_status {
            field("success_action_status", &status.to_string());
        }
        for (name, value) in post.metadata {
            field(&format!("x-amz-meta-{name}"), value);
        }
        field("x-amz-algorithm", "AWS4-HMAC-SHA256");
        field("x-amz-credential", &format!("{}/{scope}", self.credentials.access_key_id()));
        field("x-amz-date", &date);
        if let Some(token) = session_token(&self.credentials) {
            field("x-amz-security-token", token);
        }

        let (min, max) = post.length_bytes;
        let mut conditions = vec![json!({"bucket": self.bucket}), json!(["content-length-range", min, max])];
        conditions.extend(fields.iter().map(|(name, value)| json!(["eq", format!("${name}"), value])));
        let expiration = rfc3339_ms(now_ms + i64::from(post.expires_secs) * 1000);
        let policy = json!({"expiration": expiration, "conditions": Value::Array(conditions)});
        let policy = BASE64_STANDARD.encode(policy.to_string());
        fields.push(("x-amz-signature".to_owned(), self.sign_policy(&policy, now_ms)));
        fields.push(("policy".to_owned(), policy));
        PostForm { url: format!("{}{}/", self.origin, self.root), fields }
    }

    fn sign_policy(&self, policy: &str, now_ms: i64) -> String {
        let secret = self.credentials.secret_access_key();
        let key = v4::generate_signing_key(secret, system_time(now_ms), &self.region, "s3");
        v4::calculate_signature(key, policy.as_bytes())
    }
}

/// Some environments set an empty session token.
fn session_token(credentials: &Credentials) -> Option<&str> {
    credentials.session_token().filter(|token| !token.is_empty())
}

/// Returns origin and root path of a bucket.
fn address(region: &str, bucket: &str, endpoint: Option<&str>) -> (String, String) {
    if let Some(endpoint) = endpoint {
        return (endpoint.trim_end_matches('/').to_owned(), format!("/{bucket}"));
    }
    let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    // A bucket name with a dot would not match the certificate's wildcard.
    if bucket.contains('.') || bucket.parse::<IpAddr>().is_ok() {
        (format!("https://s3.{region}.{domain}"), format!("/{bucket}"))
    } else {
        (format!("https://{bucket}.s3.{region}.{domain}"), String::new())
    }
}

fn push_pair(url: &mut String, first: bool, name: &str, value: &str) {
    url.push(if first { '?' } else { '&' });
    // Writing to a String cannot fail.
    let _ = write!(url, "{}={}", utf8_percent_encode(name, QUERY), utf8_percent_encode(value, QUERY));
}

fn system_time(now_ms: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(now_ms).unwrap_or(0))
}

/// `20130524T000000Z`
fn amz_date(now_ms: i64) -> String {
    let mut date = rfc3339_ms(now_ms);
    date.truncate("2013-05-24T00:00:00".len());
    date.retain(|c| c != '-' && c != ':');
    date.push('Z');
    date
}

fn unsigned(error: impl std::error::Error + Send + Sync + 'static) -> Fault {
    Fault::new(FaultClass::Permanent, "presign", "the request cannot be signed").with_source(error)
}

#[cfg(test)]
mod tests {
    use logferry_core::model::time::parse_rfc3339_ms;
    use percent_encoding::percent_decode_str;

    use super::*;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    const NOW_MS: i64 = 1_743_532_441_581;
    const PUT: Put<'_> = Put {
        key: "logs/my-app/2025/04/01/01JQR4X8V7N3K5M2P6T9W1Y0ZC-logs.gz",
        content_type: Some("application/gzip"),
        content_length: None,
        metadata: &[("meetingid", "meeting-1"), ("attendeeid", "attendee_1")],
        expires_secs: 300,
    };

    fn credentials(session_token: Option<&str>) -> Credentials {
        Credentials::new("AKIAIOSFODNN7EXAMPLE", SECRET, session_token.map(str::to_owned), None, "test")
    }

    fn on_aws() -> Presigner {
        Presigner::new(credentials(None), "us-east-1", "examplebucket", None)
    }

    fn query(url: &str) -> Vec<(String, String)> {
        let decode = |text: &str| percent_decode_str(text).decode_utf8().unwrap().into_owned();
        url.split_once('?')
            .unwrap()
            .1
            .split('&')
            .map(|pair| pair.split_once('=').unwrap())
            .map(|(name, value)| (decode(name), decode(value)))
            .collect()
    }

    fn param(url: &str, name: &str) -> Option<String> {
        query(url).into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The example of <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html>.
    #[test]
    fn the_published_example_of_a_presigned_url_is_signed_alike() {
        // The example's host has no region: buckets of us-east-1 could be reached that way.
        let presigner = Presigner { origin: "https://examplebucket.s3.amazonaws.com".to_owned(), ..on_aws() };
        let now_ms = parse_rfc3339_ms("2013-05-24T00:00:00Z").unwrap();
        let url = presigner.url("GET", "test.txt", &[], &[], 86_400, now_ms).unwrap();
        assert_eq!(
            url,
            "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
             &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
             &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
        );
    }

    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-post-example.html>
    #[test]
    fn the_published_example_of_a_form_policy_is_signed_alike() {
        let policy = concat!(
            "{ \"expiration\": \"2015-12-30T12:00:00.000Z\",\r\n",
            "  \"conditions\": [\r\n",
            "    {\"bucket\": \"sigv4examplebucket\"},\r\n",
            "    [\"starts-with\", \"$key\", \"user/user1/\"],\r\n",
            "    {\"acl\": \"public-read\"},\r\n",
            "    {\"success_action_redirect\": \"http://sigv4examplebucket.s3.amazonaws.com/successful_upload.html\"},\r\n",
            "    [\"starts-with\", \"$Content-Type\", \"image/\"],\r\n",
            "    {\"x-amz-meta-uuid\": \"14365123651274\"},\r\n",
            "    {\"x-amz-server-side-encryption\": \"AES256\"},\r\n",
            "    [\"starts-with\", \"$x-amz-meta-tag\", \"\"],\r\n",
            "\r\n",
            "    {\"x-amz-credential\": \"AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request\"},\r\n",
            "    {\"x-amz-algorithm\": \"AWS4-HMAC-SHA256\"},\r\n",
            "    {\"x-amz-date\": \"20151229T000000Z\" }\r\n",
            "  ]\r\n",
            "}"
        );
        let now_ms = parse_rfc3339_ms("2015-12-29T00:00:00Z").unwrap();
        assert_eq!(
            on_aws().sign_policy(&BASE64_STANDARD.encode(policy), now_ms),
            "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e"
        );
    }

    #[test]
    fn metadata_rides_in_the_query_and_a_client_sends_only_the_content_type() {
        let url = on_aws().put(&PUT, NOW_MS).unwrap();
        assert_eq!(param(&url, "x-amz-meta-meetingid").as_deref(), Some("meeting-1"));
        assert_eq!(param(&url, "x-amz-meta-attendeeid").as_deref(), Some("attendee_1"));
        assert_eq!(param(&url, "X-Amz-SignedHeaders").as_deref(), Some("content-type;host"));
        assert_eq!(param(&url, "X-Amz-Expires").as_deref(), Some("300"));
        assert!(!url.to_ascii_lowercase().contains("checksum"), "{url}");
        assert!(!url.contains("X-Amz-Security-Token"));
    }

    #[test]
    fn a_declared_length_is_signed() {
        let put = Put { content_length: Some(123), ..PUT };
        let url = on_aws().put(&put, NOW_MS).unwrap();
        assert_eq!(param(&url, "X-Amz-SignedHeaders").as_deref(), Some("content-length;content-type;host"));
    }

    #[test]
    fn on_aws_the_host_names_the_bucket_and_elsewhere_the_path_does() {
        let at = |region: &str, bucket: &str, endpoint: Option<&str>| {
            Presigner::new(credentials(None), region, bucket, endpoint).location("a/b c+%ü")
        };
        let key = "a/b%20c%2B%25%C3%BC";
        assert_eq!(at("eu-west-1", "b", None), format!("https://b.s3.eu-west-1.amazonaws.com/{key}"));
        assert_eq!(at("cn-north-1", "b", None), format!("https://b.s3.cn-north-1.amazonaws.com.cn/{key}"));
        assert_eq!(at("eu-west-1", "b.c", None), format!("https://s3.eu-west-1.amazonaws.com/b.c/{key}"));
        assert_eq!(
            at("eu-west-1", "b", Some("http://127.0.0.1:4566/")),
            format!("http://127.0.0.1:4566/b/{key}")
        );
    }

    /// Computes the signature as documented, without sharing code with the implementation.
    fn signature_by_hand(url: &str, headers: &[(&str, &str)], region: &str) -> String {
        use hmac::{Hmac, KeyInit, Mac};
        use sha2::{Digest, Sha256};
        let mac = |key: &[u8], text: &str| {
            Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update(text).finalize().into_bytes().to_vec()
        };
        let (address, query) = url.split_once('?').unwrap();
        let rest = address.split_once("://").unwrap().1;
        let (host, path) = rest.split_once('/').unwrap();
        let mut pairs: Vec<_> = query.split('&').filter(|p| !p.starts_with("X-Amz-Signature=")).collect();
        pairs.sort_unstable();
        let mut headers: Vec<_> = headers.iter().copied().chain([("host", host)]).collect();
        headers.sort_unstable();
        let names: Vec<_> = headers.iter().map(|(name, _)| *name).collect();
        let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let canonical =
            format!("PUT\n/{path}\n{}\n{lines}\n{}\nUNSIGNED-PAYLOAD", pairs.join("&"), names.join(";"));
        let date = param(url, "X-Amz-Date").unwrap();
        let day = &date[..8];
        let to_sign = format!(
            "AWS4-HMAC-SHA256\n{date}\n{day}/{region}/s3/aws4_request\n{}",
            hex::encode(Sha256::digest(canonical))
        );
        let mut key = format!("AWS4{SECRET}").into_bytes();
        for step in [day, region, "s3", "aws4_request"] {
            key = mac(&key, step);
        }
        hex::encode(mac(&key, &to_sign))
    }

    #[test]
    fn signatures_are_those_that_the_documentation_asks_for() {
        for (token, endpoint) in
            [(None, None), (Some("FwoG/token+with=signs"), None), (Some("t"), Some("http://127.0.0.1:4566"))]
        {
            let presigner = Presigner::new(credentials(token), "eu-west-1", "bucket", endpoint);
            let put = Put { content_length: Some(5), key: "uploads/a/jo@x.org|1/U/f.mp4", ..PUT };
            let url = presigner.put(&put, NOW_MS).unwrap();
            let headers = [("content-length", "5"), ("content-type", "application/gzip")];
            assert_eq!(
                param(&url, "X-Amz-Signature").unwrap(),
                signature_by_hand(&url, &headers, "eu-west-1"),
                "{url}"
            );
            assert_eq!(param(&url, "X-Amz-Security-Token").as_deref(), token);

            let part = PutPart {
                key: "uploads/a/b/c/d",
                upload_id: "up+load/id==",
                part_number: 10_000,
                content_length: Some(7),
                expires_secs: 900,
            };
            let url = presigner.put_part(&part, NOW_MS).unwrap();
            assert_eq!(param(&url, "uploadId").as_deref(), Some("up+load/id=="));
            assert_eq!(
                param(&url, "X-Amz-Signature").unwrap(),
                signature_by_hand(&url, &[("content-length", "7")], "eu-west-1"),
                "{url}"
            );
        }
    }

    #[test]
    fn a_form_policy_fixes_every_field_and_the_length() {
        let presigner = Presigner::new(credentials(Some("token")), "eu-west-1", "bucket", None);
        let post = Post {
            key: PUT.key,
            content_type: PUT.content_type,
            metadata: PUT.metadata,
            success_status: Some(201),
            length_bytes: (1, 10_485_760),
            expires_secs: 300,
        };
        let form = presigner.post(&post, NOW_MS);
        assert_eq!(form.url, "https://bucket.s3.eu-west-1.amazonaws.com/");
        let field = |name: &str| &form.fields.iter().find(|(key, _)| key == name).unwrap().1;
        let policy: Value =
            serde_json::from_slice(&BASE64_STANDARD.decode(field("policy")).unwrap()).unwrap();
        assert_eq!(policy["expiration"], "2025-04-01T18:39:01.581Z");
        let conditions = policy["conditions"].as_array().unwrap();
        assert!(conditions.contains(&json!(["content-length-range", 1, 10_485_760])));
        assert!(conditions.contains(&json!({"bucket": "bucket"})));
        for (name, value) in &form.fields {
            if !["policy", "x-amz-signature"].contains(&name.as_str()) {
                assert!(conditions.contains(&json!(["eq", format!("${name}"), value])), "{name}");
            }
        }
        assert_eq!(field("x-amz-security-token"), "token");
        assert_eq!(field("x-amz-date"), "20250401T183401Z");
    }
}
