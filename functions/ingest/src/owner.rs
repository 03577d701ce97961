//! Determines the app that owns an object, and its size limit. The grant decides; it was written before the
//! presigned URL was issued. Without a grant, the key decides. Data sent by the client is not used.

use logferry_core::ledger::row::Grant;
use logferry_core::logfile::outcome::{Reason, ReasonCode};
use logferry_core::model::app::{App, AppId};
use logferry_core::model::object_key::{BadKey, ObjectKey};

/// The owner of an object, decided before it is claimed.
#[derive(Debug, Clone)]
pub(crate) enum Owner {
    App {
        app: App,
        presigned: bool,
    },
    /// No owner: the file is FAILED.
    Refused(Reason),
}

impl Owner {
    pub(crate) fn app(&self) -> Option<&App> {
        match self {
            Self::App { app, .. } => Some(app),
            Self::Refused(_) => None,
        }
    }

    pub(crate) fn is_presigned(&self) -> bool {
        matches!(self, Self::App { presigned: true, .. })
    }
}

/// The owner that a key or its grant names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Named {
    /// Not a log: an upload of another kind.
    NoLog,
    /// This app, if it is registered.
    App { app_id: AppId, presigned: bool },
    /// No app.
    Refused(Reason),
}

/// Determines the owner from key and grant. `chime_app` owns browser logs without a grant.
pub(crate) fn named(key: &str, grant: Option<&Grant>, chime_app: Option<&AppId>) -> Named {
    match (ObjectKey::parse(key), grant) {
        (Ok(ObjectKey::Upload(_)) | Err(BadKey::Upload), _) => Named::NoLog,
        (_, Some(grant)) => Named::App { app_id: grant.app_id.clone(), presigned: true },
        (Ok(ObjectKey::Log(key)), None) => Named::App { app_id: key.app_id, presigned: false },
        (Ok(ObjectKey::Chime(_)), None) => match chime_app {
            Some(app_id) => Named::App { app_id: app_id.clone(), presigned: true },
            None => Named::Refused(refused(
                ReasonCode::NoOwner,
                "no presigned URL was issued for this key, and no app owns such objects",
            )),
        },
        (Err(bad), None) => Named::Refused(refused(ReasonCode::BadKey, &format!("invalid key: {bad}"))),
    }
}

/// The reason for refusing an object whose app is not registered.
pub(crate) fn unregistered(app_id: &AppId) -> Reason {
    refused(ReasonCode::NoOwner, &format!("app {app_id} is not registered"))
}

/// The reason for refusing an object of an earlier app with the same id.
pub(crate) fn of_an_earlier_app(app_id: &AppId) -> Reason {
    refused(ReasonCode::NoOwner, &format!("the object is older than the registered app {app_id}"))
}

/// Whether an object without a grant was put before the app was registered. S3 reports whole seconds,
/// rounded down. An object put in the second of the registration may belong to either app; it is assigned
/// to the registered app, because it may be its first upload.
pub(crate) fn is_older_than(put_ms: i64, registered_ms: i64) -> bool {
    put_ms.div_euclid(1000) < registered_ms.div_euclid(1000)
}

fn refused(code: ReasonCode, message: &str) -> Reason {
    Reason { code, message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHIME: &str = "chime-client-logs/us-east-1/123456789012/m/a/x.gz";

    fn grant(app_id: &str) -> Grant {
        Grant {
            bucket: "b".to_owned(),
            key: "k".to_owned(),
            app_id: app_id.parse().unwrap(),
            meeting: None,
            size_bytes: None,
            registered_ms: 0,
            used: None,
            created_ms: 0,
            expires_ms: 0,
        }
    }

    fn check(key: &str, grant: Option<&Grant>, chime_app: Option<&str>, expect: &str) {
        let chime_app = chime_app.map(|app_id| app_id.parse().unwrap());
        let is = match named(key, grant, chime_app.as_ref()) {
            Named::NoLog => "no log".to_owned(),
            Named::App { app_id, presigned } => {
                format!("{app_id}{}", if presigned { " presigned" } else { "" })
            }
            Named::Refused(reason) => reason.code.as_str().to_owned(),
        };
        assert_eq!(is, expect, "{key}");
    }

    #[test]
    fn the_grant_decides_before_the_key() {
        check("logs/other/x", Some(&grant("mine")), None, "mine presigned");
        check(CHIME, Some(&grant("mine")), Some("chime"), "mine presigned");
    }

    #[test]
    fn without_a_grant_the_prefix_names_the_app() {
        check("logs/my-app/a b/+%/ü", None, None, "my-app");
        check(CHIME, None, Some("chime"), "chime presigned");
        check(CHIME, None, None, "NO_OWNER");
    }

    #[test]
    fn an_object_put_in_the_second_of_the_registration_is_not_older_than_the_app() {
        let second = 1_760_000_000_000;
        for (registered_ms, older) in
            [(second - 1, false), (second, false), (second + 999, false), (second + 1000, true)]
        {
            assert_eq!(is_older_than(second, registered_ms), older, "{registered_ms}");
        }
    }

    #[test]
    fn keys_of_no_known_shape_are_refused_and_uploads_left_alone() {
        for key in ["logs/My_App/x", "logs/app", "chime-client-logs/x", "elsewhere/x", "logs//x"] {
            check(key, None, Some("chime"), "BAD_KEY");
        }
        for key in ["uploads/app/sub/01JQR4X8V7N3K5M2P6T9W1Y0ZC/x.mp4", "uploads/x"] {
            check(key, Some(&grant("mine")), None, "no log");
        }
    }
}
