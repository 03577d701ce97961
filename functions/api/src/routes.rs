//! The one list of routes: paths, methods and actions. A test compares the OpenAPI document with it.

use std::sync::LazyLock;

use http::Method;
use logferry_core::model::app::Scope;
use logferry_service::http::unversioned;

/// The action of a request. `{id}` in a pattern is an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    About,
    ServiceStatus,
    OpenApi,
    RegisterApp,
    ListApps,
    ShowApp,
    ChangeApp,
    DeleteApp,
    AddKey,
    RevokeKey,
    MintJoinToken,
    MintUploadToken,
    Prune,
    SetHealthUrls,
    WriteLogs,
    QueryLogs,
    Stats,
    HealthHistory,
    HealthUptime,
    HealthResponseTimes,
    HealthBadge,
    HealthPush,
    ListFiles,
    ListQuarantined,
    Redrive,
}

impl Action {
    /// Returns the scope that an app's key must have.
    #[must_use]
    pub fn scope(self) -> Scope {
        match self {
            Self::About
            | Self::ServiceStatus
            | Self::OpenApi
            | Self::ListApps
            | Self::ShowApp
            | Self::QueryLogs
            | Self::Stats
            | Self::HealthHistory
            | Self::HealthUptime
            | Self::HealthResponseTimes
            | Self::HealthBadge
            | Self::ListFiles
            | Self::ListQuarantined => Scope::Read,
            Self::WriteLogs | Self::HealthPush => Scope::Write,
            Self::RegisterApp
            | Self::ChangeApp
            | Self::DeleteApp
            | Self::AddKey
            | Self::RevokeKey
            | Self::MintJoinToken
            | Self::MintUploadToken
            | Self::Prune
            | Self::SetHealthUrls
            | Self::Redrive => Scope::Manage,
        }
    }

    /// Returns the allowed query parameters; `context.` stands for all with this prefix. `None` allows any,
    /// for requests to which proxies and browsers add their own.
    #[must_use]
    pub fn params(self) -> Option<&'static [&'static str]> {
        match self {
            Self::About | Self::ServiceStatus | Self::OpenApi | Self::HealthBadge => None,
            Self::RegisterApp
            | Self::ListApps
            | Self::ShowApp
            | Self::ChangeApp
            | Self::DeleteApp
            | Self::AddKey
            | Self::RevokeKey
            | Self::MintJoinToken
            | Self::MintUploadToken
            | Self::Prune
            | Self::SetHealthUrls
            | Self::WriteLogs
            | Self::HealthPush => Some(&[]),
            Self::QueryLogs => Some(&[
                "app_id",
                "level",
                "since",
                "until",
                "request_id",
                "search",
                "context.",
                "limit",
                "cursor",
                "offset",
                "raw",
            ]),
            Self::Stats => Some(&["days"]),
            Self::HealthHistory => Some(&["url", "limit", "cursor"]),
            Self::HealthUptime => Some(&["url"]),
            Self::HealthResponseTimes => Some(&["url", "window"]),
            Self::ListFiles => Some(&["app_id", "status", "since", "key", "limit", "cursor"]),
            Self::ListQuarantined => Some(&["app_id", "key", "version", "limit", "cursor"]),
            Self::Redrive => Some(&["app_id"]),
        }
    }
}

/// Every route.
pub const ROUTES: &[(Method, &str, Action)] = &[
    (Method::GET, "/", Action::About),
    (Method::GET, "/health", Action::ServiceStatus),
    (Method::GET, "/openapi.json", Action::OpenApi),
    (Method::POST, "/apps", Action::RegisterApp),
    (Method::GET, "/apps", Action::ListApps),
    (Method::GET, "/apps/{id}", Action::ShowApp),
    (Method::PATCH, "/apps/{id}", Action::ChangeApp),
    (Method::DELETE, "/apps/{id}", Action::DeleteApp),
    (Method::POST, "/apps/{id}/keys", Action::AddKey),
    (Method::DELETE, "/apps/{id}/keys/{key_id}", Action::RevokeKey),
    (Method::POST, "/apps/{id}/join-tokens", Action::MintJoinToken),
    (Method::POST, "/apps/{id}/upload-tokens", Action::MintUploadToken),
    (Method::POST, "/apps/{id}/prune", Action::Prune),
    (Method::POST, "/apps/{id}/health-urls", Action::SetHealthUrls),
    (Method::POST, "/logs", Action::WriteLogs),
    (Method::GET, "/logs", Action::QueryLogs),
    (Method::GET, "/stats/{id}", Action::Stats),
    (Method::GET, "/health/{id}", Action::HealthHistory),
    (Method::GET, "/health/{id}/uptime", Action::HealthUptime),
    (Method::GET, "/health/{id}/response-times", Action::HealthResponseTimes),
    (Method::GET, "/health/{id}/badges/{file}", Action::HealthBadge),
    (Method::POST, "/health/{id}/{name}/push", Action::HealthPush),
    (Method::GET, "/files", Action::ListFiles),
    (Method::GET, "/files/quarantine", Action::ListQuarantined),
    (Method::POST, "/files/redrive", Action::Redrive),
];

/// The result of routing a path and method.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'p> {
    /// `part` is what the path names besides the app: a key, a badge's file, a job.
    Action {
        action: Action,
        /// Its path as a pattern.
        route: &'static str,
        id: Option<&'p str>,
        part: Option<&'p str>,
    },
    /// The path exists, for these methods.
    OtherMethods(Vec<Method>),
    Nothing,
}

/// Finds routes by path.
#[derive(Debug)]
pub(crate) struct Router(matchit::Router<(&'static str, Vec<(Method, Action)>)>);

impl Router {
    /// Returns the router of [`ROUTES`].
    pub(crate) fn get() -> &'static Self {
        static ROUTER: LazyLock<Router> = LazyLock::new(Router::new);
        &ROUTER
    }

    /// # Panics
    /// If two patterns of [`ROUTES`] conflict; a test would find that.
    #[expect(clippy::expect_used, reason = "once, over a constant")]
    fn new() -> Self {
        let mut patterns: Vec<(&'static str, Vec<(Method, Action)>)> = Vec::new();
        for (method, pattern, action) in ROUTES {
            match patterns.iter_mut().find(|(known, _)| known == pattern) {
                Some((_, actions)) => actions.push((method.clone(), *action)),
                None => patterns.push((pattern, vec![(method.clone(), *action)])),
            }
        }
        let mut router = matchit::Router::new();
        for (pattern, actions) in patterns {
            router.insert(pattern, (pattern, actions)).expect("no two routes conflict");
        }
        Self(router)
    }

    pub(crate) fn find<'p>(&self, method: &Method, path: &'p str) -> Found<'p> {
        let Ok(found) = self.0.at(unversioned(path)) else { return Found::Nothing };
        let (route, actions) = found.value;
        match actions.iter().find(|(known, _)| known == method) {
            Some((_, action)) => Found::Action {
                action: *action,
                route,
                id: found.params.get("id"),
                part: ["key_id", "file", "name"].into_iter().find_map(|name| found.params.get(name)),
            },
            None => Found::OtherMethods(actions.iter().map(|(method, _)| method.clone()).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_actions_and_unknown_ones_to_nothing() {
        let router = Router::get();
        let action = |method: Method, path: &str| match router.find(&method, path) {
            Found::Action { action, id, .. } => Some((action, id.map(str::to_owned))),
            _ => None,
        };
        assert_eq!(action(Method::GET, "/"), Some((Action::About, None)));
        assert_eq!(action(Method::GET, "/health"), Some((Action::ServiceStatus, None)));
        assert_eq!(action(Method::GET, "/health/x"), Some((Action::HealthHistory, Some("x".to_owned()))));
        assert_eq!(
            action(Method::GET, "/health/x/badges/y.svg"),
            Some((Action::HealthBadge, Some("x".to_owned())))
        );
        assert_eq!(
            action(Method::POST, "/health/x/job/push"),
            Some((Action::HealthPush, Some("x".to_owned())))
        );
        assert_eq!(action(Method::GET, "/apps/%61"), Some((Action::ShowApp, Some("%61".to_owned()))));
        assert_eq!(action(Method::GET, "/v1/apps/a"), Some((Action::ShowApp, Some("a".to_owned()))));
        for path in [
            "",
            "/nope",
            "/apps/",
            "/logs/",
            "/apps/a/b",
            "//logs",
            "/apps/a/keys/",
            "/v1",
            "/v1/v1/logs",
            "/v2/logs",
        ] {
            assert_eq!(router.find(&Method::GET, path), Found::Nothing, "{path}");
        }
        assert_eq!(router.find(&Method::PUT, "/logs"), Found::OtherMethods(vec![Method::POST, Method::GET]));
    }
}
