//! Registration of checks: returns all problems at once, or the settings to store in the app. Also parses
//! stored settings.

use std::collections::HashSet;
use std::time::Duration;

use crate::rows::{CheckKey, JOB_PREFIX};
use futures::StreamExt;
use serde_json::{Value, json};

use crate::check::{Check, CheckKind, FieldError, MAX_CHECKS, MAX_CHECKS_BYTES};
use crate::guard::Policy;
use crate::guard::resolve::{ResolveError, Resolver, checked_addresses};
use crate::guard::target::{Target, TargetHost};
use crate::redacted::{stored_values, with_stored_headers};

/// Names resolved in parallel, and how long registration waits for a response. After that, only the probe
/// checks the name: it resolves and checks in any case.
const RESOLVED_AT_ONCE: usize = 20;
/// Maximum number of names that a registration resolves. Further names are checked only by their probes.
pub const MAX_NAMES_RESOLVED: usize = 20;
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);

/// An app's checks, and the access to its badges.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HealthSettings {
    pub checks: Vec<Check>,
    /// Badges need no key.
    pub public_badges: bool,
}

impl HealthSettings {
    /// Returns what is stored as the app's `health_checks`: an array, or an object if badges are public.
    pub fn to_value(&self) -> Value {
        let checks: Vec<Value> = self.checks.iter().map(Check::to_value).collect();
        if self.public_badges {
            json!({"checks": checks, "public_badges": true})
        } else {
            Value::Array(checks)
        }
    }
}

/// Validates the checks that a caller registers: an array of strings and objects, in the field `at`
/// (`urls`, `health_urls`). Names are resolved. A name with a private address is refused. A name that does
/// not resolve yet is accepted; its probes will report it. `stored` are the app's current checks: unchanged
/// headers keep their values, which are never shown.
pub async fn register(
    value: &Value,
    at: &str,
    public_badges: bool,
    stored: &Value,
    policy: &Policy,
    resolver: &dyn Resolver,
) -> Result<HealthSettings, Vec<FieldError>> {
    let one = |field: String, message: String| vec![FieldError { field, message }];
    let given = with_stored_headers(value.clone(), stored);
    let Value::Array(values) = &given else {
        return Err(one(at.to_string(), "must be an array of URLs and objects".to_string()));
    };
    if values.len() > MAX_CHECKS {
        return Err(one(at.to_string(), format!("must be at most {MAX_CHECKS}")));
    }
    let mut errors = Vec::new();
    let mut checks: Vec<(String, Check)> = Vec::new();
    for (index, value) in values.iter().enumerate() {
        let field = format!("{at}[{index}]");
        match Check::from_value(value, &field, policy) {
            Ok(check) => checks.push((field, check)),
            Err(problems) => errors.extend(problems),
        }
    }
    let (mut targets, mut names) = (HashSet::new(), HashSet::new());
    for (field, check) in &checks {
        if !targets.insert(check.target()) {
            errors.extend(one(field.clone(), format!("repeats {}", check.target())));
        } else if check.name.as_ref().is_some_and(|name| !names.insert(name.clone())) {
            errors.extend(one(format!("{field}.name"), "repeats the name of another check".to_string()));
        }
    }
    let mut names = HashSet::new();
    let named = checks.iter().filter_map(|(field, check)| match &check.kind {
        CheckKind::Probe(probe) => match probe.target.host() {
            TargetHost::Name(name) => names.insert(name).then_some((field, &probe.target)),
            TargetHost::Address(_) => None,
        },
        CheckKind::Push { .. } => None,
    });
    let lookups: Vec<_> = named
        .take(MAX_NAMES_RESOLVED)
        .map(|(field, target)| refused_by_dns(field, target, policy, resolver))
        .collect();
    let refused: Vec<Option<FieldError>> =
        futures::stream::iter(lookups).buffered(RESOLVED_AT_ONCE).collect().await;
    errors.extend(refused.into_iter().flatten());
    if !errors.is_empty() {
        return Err(errors);
    }
    let settings =
        HealthSettings { checks: checks.into_iter().map(|(_, check)| check).collect(), public_badges };
    if settings.to_value().to_string().len() > MAX_CHECKS_BYTES {
        return Err(one(
            at.to_string(),
            format!("must be at most {MAX_CHECKS_BYTES} bytes of JSON together"),
        ));
    }
    Ok(settings)
}

async fn refused_by_dns(
    field: &str,
    target: &Target,
    policy: &Policy,
    resolver: &dyn Resolver,
) -> Option<FieldError> {
    match tokio::time::timeout(RESOLVE_TIMEOUT, checked_addresses(target, resolver, policy)).await {
        Ok(Err(ResolveError::Refused(refusal))) => {
            Some(FieldError { field: field.to_string(), message: refusal.to_string() })
        }
        Ok(Ok(_) | Err(ResolveError::NoAnswer(_))) | Err(_) => None,
    }
}

/// A stored check. One that the policy no longer allows keeps its identity, with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCheck {
    pub target: String,
    pub name: Option<String>,
    pub check: Result<Check, String>,
}

impl StoredCheck {
    pub fn key(&self, app_id: &logferry_core::model::app::AppId) -> CheckKey {
        CheckKey { app_id: app_id.clone(), target: self.target.clone() }
    }
}

/// Parses an app's `health_checks`.
pub fn stored_checks(stored: &Value, policy: &Policy) -> Vec<StoredCheck> {
    stored_values(stored)
        .iter()
        .map(|value| match Check::from_value(value, "check", policy) {
            Ok(check) => StoredCheck { target: check.target(), name: check.name.clone(), check: Ok(check) },
            Err(errors) => {
                let text = |field: &str| value.get(field).and_then(Value::as_str);
                let target = value.as_str().or(text("url")).map(ToString::to_string);
                StoredCheck {
                    target: target
                        .or_else(|| text("name").map(|name| format!("{JOB_PREFIX}{name}")))
                        .unwrap_or_default(),
                    name: text("name").map(ToString::to_string),
                    check: Err(errors
                        .iter()
                        .map(|error| format!("{} {}", error.field, error.message))
                        .collect::<Vec<_>>()
                        .join("; ")),
                }
            }
        })
        .collect()
}

/// Whether an app's badges may be read without a key.
pub fn public_badges(stored: &Value) -> bool {
    stored.get("public_badges").and_then(Value::as_bool).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use futures::future::BoxFuture;
    use std::io;
    use std::net::IpAddr;

    #[derive(Debug)]
    struct Zone;

    impl Resolver for Zone {
        fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
            Box::pin(async move {
                match name {
                    "public.example.com" => Ok(vec!["93.184.216.34".parse().unwrap()]),
                    "private.example.com" => {
                        Ok(vec!["93.184.216.34".parse().unwrap(), "10.0.0.5".parse().unwrap()])
                    }
                    _ => Err(io::Error::other("NXDOMAIN")),
                }
            })
        }
    }

    async fn outcome_of(value: Value) -> String {
        match register(&value, "urls", false, &Value::Null, &Policy::default(), &Zone).await {
            Ok(settings) => settings.to_value().to_string(),
            Err(errors) => errors
                .iter()
                .map(|error| format!("{}: {}", error.field, error.message))
                .collect::<Vec<_>>()
                .join("\n"),
        }
    }

    #[tokio::test]
    async fn good_checks_are_kept_in_their_short_form() {
        let given =
            json!(["https://public.example.com/", {"url": "https://not-yet.example.com/", "name": "b"}]);
        assert_eq!(
            outcome_of(given.clone()).await,
            r#"["https://public.example.com/",{"name":"b","url":"https://not-yet.example.com/"}]"#
        );
    }

    #[tokio::test]
    async fn all_problems_are_named_at_once() {
        let given = json!([
            "http://10.0.0.1/",
            "https://private.example.com/x",
            "https://public.example.com",
            "https://PUBLIC.example.com/",
            5
        ]);
        assert_eq!(
            outcome_of(given).await,
            "urls[0]: leads to 10.0.0.1, which is not public (private, 10.0.0.0/8)\n\
             urls[4]: must be a URL or an object with a url\n\
             urls[3]: repeats https://public.example.com/\n\
             urls[1]: leads to an address which is not public"
        );
        assert_eq!(outcome_of(json!({"url": 1})).await, "urls: must be an array of URLs and objects");
        assert_eq!(
            outcome_of(json!(vec!["https://public.example.com/"; 201])).await,
            "urls: must be at most 200"
        );
    }

    #[tokio::test]
    async fn a_registration_resolves_each_name_once_and_few_names_in_all() {
        #[derive(Debug, Default)]
        struct Counting(std::sync::Mutex<Vec<String>>);
        impl Resolver for Counting {
            fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
                self.0.lock().unwrap().push(name.to_string());
                Box::pin(async { Ok(vec!["93.184.216.34".parse().unwrap()]) })
            }
        }
        let asked = async |urls: Vec<String>| {
            let zone = Counting::default();
            register(&json!(urls), "urls", false, &Value::Null, &Policy::default(), &zone).await.unwrap();
            zone.0.into_inner().unwrap().len()
        };
        assert_eq!(
            asked((0..200).map(|n| format!("https://{n}.example.com/")).collect()).await,
            MAX_NAMES_RESOLVED
        );
        assert_eq!(asked((0..200).map(|n| format!("https://a.example.com/{n}")).collect()).await, 1);
        assert_eq!(asked(vec!["https://93.184.216.34/".to_string()]).await, 0);
    }

    #[tokio::test]
    async fn checks_that_would_make_every_request_of_the_app_dear_are_refused() {
        let url = |n: usize| format!("https://public.example.com/{n}{}", "x".repeat(400));
        let refused = outcome_of(json!((0..200).map(url).collect::<Vec<_>>())).await;
        assert_eq!(refused, "urls: must be at most 65536 bytes of JSON together");
    }

    #[tokio::test]
    async fn settings_read_back_as_stored() {
        let given = json!(["https://public.example.com/", {"name": "job", "heartbeat": "1h"}]);
        let settings = register(&given, "urls", true, &Value::Null, &Policy::default(), &Zone).await.unwrap();
        let stored = settings.to_value();
        assert!(public_badges(&stored) && !public_badges(&given));
        let checks: Vec<Check> = stored_checks(&stored, &Policy::default())
            .into_iter()
            .map(|stored| stored.check.unwrap())
            .collect();
        assert_eq!(checks, settings.checks);
    }

    #[test]
    fn a_check_that_is_no_longer_allowed_says_why() {
        let stored = stored_checks(&json!(["http://127.0.0.1/"]), &Policy::default());
        assert_eq!(stored[0].target, "http://127.0.0.1/");
        assert_eq!(
            stored[0].check,
            Err("check leads to 127.0.0.1, which is not public (loopback, 127.0.0.0/8)".to_string())
        );
    }
}
