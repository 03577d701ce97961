//! Object keys. Keys that Logferry issues are built from typed parts only. Keys that arrive are parsed, and
//! a key of unknown shape is refused.

use std::fmt;
use std::str::FromStr;

use ulid::Ulid;

use crate::model::app::AppId;
use crate::model::time::Day;

/// Browser logs: `chime-client-logs/{region}/{account}/{meeting}/{attendee}/{ulid}-{filename}`.
pub const CHIME_PREFIX: &str = "chime-client-logs/";
/// Logs of services: `logs/{app_id}/…`.
pub const LOGS_PREFIX: &str = "logs/";
/// Files that are not logs: `uploads/{app_id}/{subject}/{ulid}/{filename}`.
pub const UPLOADS_PREFIX: &str = "uploads/";

/// The default name of a log file.
pub const DEFAULT_LOG_FILENAME: &str = "logs.gz";

/// Maximum length of a file name (bytes).
pub const MAX_FILENAME_BYTES: usize = 100;

/// Error: a text does not match its pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} must match {pattern}")]
pub struct BadPart {
    /// The field as callers know it.
    pub what: &'static str,
    pub pattern: &'static str,
}

macro_rules! part {
    ($(#[$doc:meta])* $name:ident, $what:literal, $pattern:literal, $legal:expr) => {
        $(#[$doc])*
        #[doc = concat!("`", $pattern, "`.")]
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = BadPart;

            fn from_str(text: &str) -> Result<Self, BadPart> {
                let legal: fn(&[u8]) -> bool = $legal;
                if legal(text.as_bytes()) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(BadPart { what: $what, pattern: $pattern })
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

fn is_id(text: &[u8]) -> bool {
    (1..=64).contains(&text.len())
        && text.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

fn is_filename_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')
}

part!(
    /// A meeting, as the browser's SDK names it:
    MeetingId, "meetingId", "^[A-Za-z0-9_-]{1,64}$", is_id
);
part!(
    /// An attendee of a meeting:
    AttendeeId, "attendeeId", "^[A-Za-z0-9_-]{1,64}$", is_id
);
part!(
    /// The last part of a key, without its ULID:
    Filename, "filename", "^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$",
    |text| matches!(text, [first, rest @ ..] if first.is_ascii_alphanumeric()
        && rest.len() < MAX_FILENAME_BYTES && rest.iter().all(|&b| is_filename_byte(b)))
);
part!(
    /// The uploader: the `sub` of an identity provider:
    Subject, "sub", "^[A-Za-z0-9_-][A-Za-z0-9._@:|-]{0,127}$",
    |text| matches!(text, [first, rest @ ..]
        if (first.is_ascii_alphanumeric() || matches!(first, b'_' | b'-')) && rest.len() < 128
        && rest.iter().all(|b| b.is_ascii_alphanumeric() || b"._@:|-".contains(b)))
);
part!(
    /// An AWS region:
    Region, "region", "^[a-z0-9-]{1,32}$",
    |text| (1..=32).contains(&text.len())
        && text.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
);
part!(
    /// An AWS account:
    AccountId, "account", "^[0-9]{12}$",
    |text| text.len() == 12 && text.iter().all(u8::is_ascii_digit)
);

impl Subject {
    /// The subject of uploads with an app's API key. No token is issued for it or accepted with it: its
    /// holder would see the app's own uploads.
    #[must_use]
    pub fn service() -> Self {
        Self("service".to_owned())
    }

    #[must_use]
    pub fn is_service(&self) -> bool {
        *self == Self::service()
    }
}

impl Filename {
    /// `logs.gz`.
    #[must_use]
    pub fn default_log() -> Self {
        Self(DEFAULT_LOG_FILENAME.to_owned())
    }

    /// Returns the nearest valid name to a file's name. Invalid characters become `_`; a name that is too
    /// long loses its middle and keeps its extension. Never fails.
    #[must_use]
    pub fn nearest(name: &str) -> Self {
        let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
        let mut text = String::with_capacity(name.len());
        for c in name.chars() {
            let legal = u8::try_from(c).is_ok_and(is_filename_byte);
            let c = if legal { c } else { '_' };
            if text.is_empty() && !c.is_ascii_alphanumeric() || c == '_' && text.ends_with('_') {
                continue;
            }
            text.push(c);
        }
        if text.is_empty() {
            text.push_str("file");
        }
        if text.len() > MAX_FILENAME_BYTES {
            let extension = match text.rfind('.') {
                Some(dot) if text.len() - dot <= 20 => text[dot..].to_owned(),
                _ => String::new(),
            };
            text.truncate(MAX_FILENAME_BYTES - extension.len());
            text.push_str(&extension);
        }
        Self(text)
    }
}

/// The key of a browser's log file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ChimeKey {
    pub region: Region,
    pub account: AccountId,
    pub meeting: MeetingId,
    pub attendee: AttendeeId,
    /// `None` in keys that Logferry did not issue.
    pub ulid: Option<Ulid>,
    pub filename: Filename,
}

impl fmt::Display for ChimeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { region, account, meeting, attendee, ulid, filename } = self;
        write!(f, "{CHIME_PREFIX}{region}/{account}/{meeting}/{attendee}/")?;
        if let Some(ulid) = ulid {
            write!(f, "{ulid}-")?;
        }
        write!(f, "{filename}")
    }
}

/// The key of a service's log file: the app, then any text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LogKey {
    pub app_id: AppId,
    /// Not empty. Services that put objects themselves choose any name.
    pub rest: String,
}

impl LogKey {
    /// Issues a key: `logs/{app_id}/{yyyy}/{mm}/{dd}/{ulid}-{filename}`.
    #[must_use]
    pub fn issue(app_id: AppId, day: Day, ulid: Ulid, filename: &Filename) -> Self {
        let day = day.to_string().replace('-', "/");
        Self { app_id, rest: format!("{day}/{ulid}-{filename}") }
    }
}

impl fmt::Display for LogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{LOGS_PREFIX}{}/{}", self.app_id, self.rest)
    }
}

/// The key of a file that is not a log. Such files are never ingested.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UploadKey {
    pub app_id: AppId,
    pub subject: Subject,
    pub ulid: Ulid,
    pub filename: Filename,
}

impl fmt::Display for UploadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { app_id, subject, ulid, filename } = self;
        write!(f, "{UPLOADS_PREFIX}{app_id}/{subject}/{ulid}/{filename}")
    }
}

/// A key of a known shape.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ObjectKey {
    Chime(ChimeKey),
    Log(LogKey),
    Upload(UploadKey),
}

/// Why a key is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    #[error("no known prefix")]
    UnknownPrefix,
    #[error(
        "not of the shape chime-client-logs/{{region}}/{{account}}/{{meeting}}/{{attendee}}/{{filename}}"
    )]
    Chime,
    #[error("not of the shape logs/{{app_id}}/{{name}}")]
    Log,
    #[error("not of the shape uploads/{{app_id}}/{{subject}}/{{ulid}}/{{filename}}")]
    Upload,
}

impl ObjectKey {
    /// Parses a key as S3 stores it: an event's encoding must be decoded before.
    ///
    /// # Errors
    /// If the key has none of the three shapes.
    pub fn parse(key: &str) -> Result<Self, BadKey> {
        if let Some(rest) = key.strip_prefix(CHIME_PREFIX) {
            parse_chime(rest).map(Self::Chime).ok_or(BadKey::Chime)
        } else if let Some(rest) = key.strip_prefix(LOGS_PREFIX) {
            parse_log(rest).map(Self::Log).ok_or(BadKey::Log)
        } else if let Some(rest) = key.strip_prefix(UPLOADS_PREFIX) {
            parse_upload(rest).map(Self::Upload).ok_or(BadKey::Upload)
        } else {
            Err(BadKey::UnknownPrefix)
        }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chime(key) => key.fmt(f),
            Self::Log(key) => key.fmt(f),
            Self::Upload(key) => key.fmt(f),
        }
    }
}

/// Parses a ULID as we write it: 26 upper-case characters.
fn parse_ulid(text: &str) -> Option<Ulid> {
    Ulid::from_string(text).ok().filter(|ulid| ulid.to_string() == text)
}

fn parse_chime(rest: &str) -> Option<ChimeKey> {
    let mut parts = rest.splitn(5, '/');
    let region = parts.next()?.parse().ok()?;
    let account = parts.next()?.parse().ok()?;
    let meeting = parts.next()?.parse().ok()?;
    let attendee = parts.next()?.parse().ok()?;
    let last = parts.next()?;
    let issued = last.split_once('-').and_then(|(ulid, name)| Some((parse_ulid(ulid)?, name)));
    let (ulid, name) = issued.map_or((None, last), |(ulid, name)| (Some(ulid), name));
    Some(ChimeKey { region, account, meeting, attendee, ulid, filename: name.parse().ok()? })
}

fn parse_log(rest: &str) -> Option<LogKey> {
    let (app_id, rest) = rest.split_once('/')?;
    if rest.is_empty() {
        return None;
    }
    Some(LogKey { app_id: app_id.parse().ok()?, rest: rest.to_owned() })
}

fn parse_upload(rest: &str) -> Option<UploadKey> {
    let mut parts = rest.splitn(4, '/');
    Some(UploadKey {
        app_id: parts.next()?.parse().ok()?,
        subject: parts.next()?.parse().ok()?,
        ulid: parse_ulid(parts.next()?)?,
        filename: parts.next()?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ULID: &str = "01JQR4X8V7N3K5M2P6T9W1Y0ZC";

    fn ulid() -> Ulid {
        Ulid::from_string(ULID).unwrap()
    }

    #[test]
    fn keys_have_the_documented_shapes() {
        let chime = ChimeKey {
            region: "eu-central-1".parse().unwrap(),
            account: "123456789012".parse().unwrap(),
            meeting: "meeting-123".parse().unwrap(),
            attendee: "attendee_456".parse().unwrap(),
            ulid: Some(ulid()),
            filename: Filename::default_log(),
        };
        assert_eq!(
            chime.to_string(),
            format!("chime-client-logs/eu-central-1/123456789012/meeting-123/attendee_456/{ULID}-logs.gz")
        );
        let log = LogKey::issue(
            "my-app".parse().unwrap(),
            Day::of_ms(1_743_532_441_581),
            ulid(),
            &"a.gz".parse().unwrap(),
        );
        assert_eq!(log.to_string(), format!("logs/my-app/2025/04/01/{ULID}-a.gz"));
        let upload = UploadKey {
            app_id: "my-app".parse().unwrap(),
            subject: "auth0|jo@example.org".parse().unwrap(),
            ulid: ulid(),
            filename: "film.mp4".parse().unwrap(),
        };
        assert_eq!(upload.to_string(), format!("uploads/my-app/auth0|jo@example.org/{ULID}/film.mp4"));
        for key in [ObjectKey::Chime(chime), ObjectKey::Log(log), ObjectKey::Upload(upload)] {
            assert_eq!(ObjectKey::parse(&key.to_string()), Ok(key));
        }
    }

    #[test]
    fn what_follows_the_app_of_a_service_log_is_free() {
        for rest in ["x", "a b+c%20/ü/d.json.gz", "/", "..//..", "2025/04/01/"] {
            let Ok(ObjectKey::Log(key)) = ObjectKey::parse(&format!("logs/my-app/{rest}")) else {
                panic!("{rest} was refused");
            };
            assert_eq!((key.app_id.as_str(), key.rest.as_str()), ("my-app", rest));
        }
    }

    #[test]
    fn a_browser_log_that_was_not_handed_out_may_lack_the_ulid() {
        let key = "chime-client-logs/us-east-1/123456789012/m/a/2024-01-01.log.gz";
        let Ok(ObjectKey::Chime(parsed)) = ObjectKey::parse(key) else { panic!("refused") };
        assert_eq!((parsed.ulid, parsed.filename.as_str()), (None, "2024-01-01.log.gz"));
        assert_eq!(parsed.to_string(), key);
    }

    #[test]
    fn keys_of_other_shapes_are_refused() {
        let chime = "chime-client-logs/us-east-1/123456789012";
        for (key, why) in [
            ("", BadKey::UnknownPrefix),
            ("logs", BadKey::UnknownPrefix),
            ("/logs/app/x", BadKey::UnknownPrefix),
            ("Logs/app/x", BadKey::UnknownPrefix),
            ("other/app/x", BadKey::UnknownPrefix),
            ("logs/", BadKey::Log),
            ("logs/app", BadKey::Log),
            ("logs/app/", BadKey::Log),
            ("logs/App/x", BadKey::Log),
            ("logs//x", BadKey::Log),
            ("logs/../x", BadKey::Log),
            (&format!("{chime}/m/a"), BadKey::Chime),
            (&format!("{chime}/m/a/"), BadKey::Chime),
            (&format!("{chime}/../a/x.gz"), BadKey::Chime),
            (&format!("{chime}/m/a/b/x.gz"), BadKey::Chime),
            (&format!("{chime}/m/a/.hidden"), BadKey::Chime),
            (&format!("{chime}/m/a/{ULID}-"), BadKey::Chime),
            ("chime-client-logs/us-east-1/12345/m/a/x.gz", BadKey::Chime),
            ("uploads/app/sub/not-a-ulid/x", BadKey::Upload),
            (&format!("uploads/app/sub/{}/x", ULID.to_lowercase()), BadKey::Upload),
            (&format!("uploads/app/sub/{ULID}/a/b"), BadKey::Upload),
            (&format!("uploads/app/../{ULID}/x"), BadKey::Upload),
        ] {
            assert_eq!(ObjectKey::parse(key), Err(why), "{key}");
        }
    }

    #[test]
    fn ids_and_filenames_keep_to_their_alphabets() {
        for bad in ["", "../x", "a/b", "a b", "ä", "a.b", "a%2fb", "a\n", &"x".repeat(65)] {
            assert!(bad.parse::<MeetingId>().is_err(), "{bad:?}");
            assert!(bad.parse::<AttendeeId>().is_err(), "{bad:?}");
        }
        for bad in ["", ".", "..", ".gz", "-a", "_a", "a/b", "a b", "a\0", "ü.gz", &"x".repeat(101)] {
            assert!(bad.parse::<Filename>().is_err(), "{bad:?}");
        }
        assert!("x".repeat(100).parse::<Filename>().is_ok());
        assert!("x".repeat(64).parse::<MeetingId>().is_ok());
        for bad in ["", ".", "..", "a/b", "a b", "ü", &"x".repeat(129)] {
            assert!(bad.parse::<Subject>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_file_of_any_name_gets_a_legal_one_like_it() {
        for (name, like) in [
            ("film.mp4", "film.mp4"),
            ("Mein Urlaub (1).mov", "Mein_Urlaub_1_.mov"),
            ("../../etc/passwd", "passwd"),
            (r"C:\films\a.avi", "a.avi"),
            (".hidden", "hidden"),
            ("日本語", "file"),
            ("", "file"),
        ] {
            assert_eq!(Filename::nearest(name).as_str(), like, "{name}");
        }
        let long = Filename::nearest(&format!("{}.tar.gz", "x".repeat(300)));
        assert_eq!((long.as_str().len(), long.as_str().ends_with(".gz")), (100, true));
    }

    proptest! {
        #[test]
        fn whatever_parses_is_written_as_it_was(key in "(chime-client-logs|logs|uploads)/[a-z0-9./-]{0,60}") {
            if let Ok(parsed) = ObjectKey::parse(&key) {
                prop_assert_eq!(parsed.to_string(), key);
            }
        }

        #[test]
        fn the_nearest_name_is_always_legal(name in "\\PC{0,200}") {
            let nearest = Filename::nearest(&name);
            prop_assert!(nearest.as_str().parse::<Filename>().is_ok(), "{:?} -> {}", name, nearest);
        }
    }
}
