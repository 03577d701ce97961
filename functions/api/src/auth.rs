//! The callers of routes: the administration, an app with one of its keys, or a reader with a view token. A handler gets its caller and
//! its app only from the extractors of this module, which check the credential.

use std::marker::PhantomData;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::StatusCode;
use http::request::Parts;
use logferry_core::model::app::{App, AppId, Scope};
use logferry_core::ports::apps::Apps;
use logferry_service::api_key::{ADMIN_KEY_HEADER, API_KEY_HEADER, APP_ID_HEADER, app_of_client};
use logferry_service::http::{ApiError, Describe, Head, Operation, PathPart, QueryParams};
use logferry_service::tokens::{TokenError, ViewClaims};
use serde_json::json;
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterIn};

use crate::{Api, Cloud};

/// The header in which Amazon Data Firehose shows a key.
const FIREHOSE_KEY_HEADER: &str = "x-amz-firehose-access-key";

/// What an app's key must be allowed to do.
pub(crate) trait Needs: 'static {
    const SCOPE: Scope;
}

#[derive(Debug)]
pub(crate) struct Read;
#[derive(Debug)]
pub(crate) struct Write;
#[derive(Debug)]
pub(crate) struct Manage;

impl Needs for Read {
    const SCOPE: Scope = Scope::Read;
}
impl Needs for Write {
    const SCOPE: Scope = Scope::Write;
}
impl Needs for Manage {
    const SCOPE: Scope = Scope::Manage;
}

/// The query parameters of a route. What is not taken is refused.
pub(crate) trait Params: IntoParams + Sized + Send {
    fn read(query: &mut QueryParams) -> Result<Self, ApiError>;
}

/// No query parameters.
#[derive(Debug)]
pub(crate) struct NoParams;

impl Params for NoParams {
    fn read(_: &mut QueryParams) -> Result<Self, ApiError> {
        Ok(Self)
    }
}

impl IntoParams for NoParams {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        Vec::new()
    }
}

/// The administration alone.
pub(crate) struct AsAdmin {
    pub(crate) head: Head,
}

/// Any caller with a credential.
pub(crate) struct AsCaller<S, P = NoParams> {
    pub(crate) caller: Caller,
    pub(crate) params: P,
    pub(crate) head: Head,
    needs: PhantomData<fn() -> S>,
}

/// An app by its own key.
pub(crate) struct AsApp<S> {
    pub(crate) app: Box<App>,
    pub(crate) head: Head,
    needs: PhantomData<fn() -> S>,
}

/// An app by a key that may write, as a client of another protocol shows it. Such clients add query parameters
/// of their own, and show their credential only after a 401, if at all.
pub(crate) struct AsShipper {
    pub(crate) app: Box<App>,
    pub(crate) head: Head,
}

/// As [`AsShipper`], also by a key in the URL: the logger of a page may know nothing else.
pub(crate) struct AsPage {
    pub(crate) app: Box<App>,
    pub(crate) head: Head,
}

/// The app that the path names in `{id}`, and a caller that may act for it.
pub(crate) struct OnApp<S, P = NoParams> {
    pub(crate) app: Box<App>,
    pub(crate) params: P,
    pub(crate) head: Head,
    needs: PhantomData<fn() -> S>,
}

/// The sender of a request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Caller {
    Admin,
    App(Box<App>),
}

impl Caller {
    /// Whose share of requests this one uses.
    fn bucket(&self) -> &str {
        match self {
            // No app has this id.
            Self::Admin => "*",
            Self::App(app) => app.app_id.as_str(),
        }
    }
}

impl<C: Cloud> FromRequestParts<Arc<Api<C>>> for AsAdmin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api<C>>) -> Result<Self, ApiError> {
        let mut head = Head::from_request_parts(parts, api).await?;
        match api.any_caller(&head, Scope::Manage).await? {
            Some(Caller::Admin) => {}
            Some(Caller::App(_)) => {
                return Err(ApiError::forbidden("only the administrator may do this: send X-Admin-Key"));
            }
            None => return Err(ApiError::unauthorized("X-Admin-Key is required")),
        }
        api.limiter.admit(Caller::Admin.bucket(), head.now_ms)?;
        params::<NoParams>(&mut head)?;
        Ok(Self { head })
    }
}

impl<C: Cloud, S: Needs, P: Params> FromRequestParts<Arc<Api<C>>> for AsCaller<S, P> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api<C>>) -> Result<Self, ApiError> {
        let mut head = Head::from_request_parts(parts, api).await?;
        let caller = api.caller(&head, S::SCOPE).await?;
        let params = params(&mut head)?;
        Ok(Self { caller, params, head, needs: PhantomData })
    }
}

impl<C: Cloud, S: Needs> FromRequestParts<Arc<Api<C>>> for AsApp<S> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api<C>>) -> Result<Self, ApiError> {
        let AsCaller { caller, params: NoParams, head, needs } =
            AsCaller::<S, NoParams>::from_request_parts(parts, api).await?;
        match caller {
            Caller::App(app) => Ok(Self { app, head, needs }),
            Caller::Admin => Err(ApiError::forbidden("writing logs requires an app's key")),
        }
    }
}

impl<C: Cloud> FromRequestParts<Arc<Api<C>>> for AsShipper {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api<C>>) -> Result<Self, ApiError> {
        let head = Head::from_request_parts(parts, api).await?;
        let app = api.shipper(&head, head.header(FIREHOSE_KEY_HEADER)).await?;
        Ok(Self { app, head })
    }
}

impl<C: Cloud> FromRequestParts<Arc<Api<C>>> for AsPage {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api<C>>) -> Result<Self, ApiError> {
        let head = Head::from_request_parts(parts, api).await?;
        let app = api.shipper(&head, head.query.only("key")).await?;
        Ok(Self { app, head })
    }
}

impl<C: Cloud, S: Needs, P: Params> FromRequestParts<Arc<Api<C>>> for OnApp<S, P> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api<C>>) -> Result<Self, ApiError> {
        let id = PathPart::from_request_parts(parts, api).await?;
        let AsCaller { caller, params, head, needs } =
            AsCaller::<S, P>::from_request_parts(parts, api).await?;
        let app = api.app_of_path(&caller, &head, id.get("id")).await?;
        Ok(Self { app, params, head, needs })
    }
}

fn params<P: Params>(head: &mut Head) -> Result<P, ApiError> {
    let mut query = std::mem::take(&mut head.query);
    let params = P::read(&mut query)?;
    query.finish()?;
    Ok(params)
}

/// The JSON web token of a request without a key. Other schemes and other bearers are not read here.
fn view_token(head: &Head) -> Option<&str> {
    let has_key = head.headers.contains_key(API_KEY_HEADER);
    head.bearer().filter(|token| !has_key && token.split('.').count() == 3)
}

/// What every operation that takes a credential may answer.
fn takes_credential(operation: &mut Operation) {
    operation.errors.extend([400, 401, 403, 429, 503]);
}

/// The credentials of an operation that apps and the administration may use.
pub(crate) fn takes_any_key(operation: &mut Operation, scope: Scope) {
    operation.security.extend([json!({"apiKey": [scope]}), json!({"adminKey": []})]);
    if scope == Scope::Read {
        operation.security.push(json!({"viewToken": []}));
    }
    takes_credential(operation);
}

pub(crate) fn takes_app_in_path(operation: &mut Operation) {
    let schema = json!({"type": "string", "pattern": "^[a-z0-9][a-z0-9-]{0,62}$", "examples": ["shop"]});
    operation.takes("path", "id", "An app.", schema);
    operation.errors.insert(404);
}

impl Describe for AsAdmin {
    fn describe(operation: &mut Operation) {
        operation.security.push(json!({"adminKey": []}));
        takes_credential(operation);
    }
}

impl<S: Needs, P: Params> Describe for AsCaller<S, P> {
    fn describe(operation: &mut Operation) {
        takes_any_key(operation, S::SCOPE);
        operation.takes_query::<P>();
    }
}

impl<S: Needs> Describe for AsApp<S> {
    fn describe(operation: &mut Operation) {
        operation.security.push(json!({"apiKey": [S::SCOPE]}));
        takes_credential(operation);
    }
}

impl Describe for AsShipper {
    fn describe(operation: &mut Operation) {
        operation.security.push(json!({"apiKey": [Scope::Write]}));
        takes_credential(operation);
    }
}

impl Describe for AsPage {
    fn describe(operation: &mut Operation) {
        let description = "A key with the scope `write`, if no header has one.";
        operation.takes("query", "key", description, json!({"type": "string"}));
        AsShipper::describe(operation);
    }
}

impl<S: Needs, P: Params> Describe for OnApp<S, P> {
    fn describe(operation: &mut Operation) {
        takes_app_in_path(operation);
        AsCaller::<S, P>::describe(operation);
    }
}

/// What the error of a request without any credential names.
const API_KEY_FIELD: &str = "X-API-Key";

/// Whether a request was refused because it has no credential at all.
pub(crate) fn is_credential_missing(error: &ApiError) -> bool {
    error.status == StatusCode::BAD_REQUEST
        && error.details.as_ref().is_some_and(|details| details["field"] == API_KEY_FIELD)
}

impl<C: Cloud> Api<C> {
    /// Returns the caller of this request, admitted by the rate limit.
    ///
    /// # Errors
    /// 400 without any credential, 401 for wrong ones, 403 for a key without the scope, 429.
    pub(crate) async fn caller(&self, head: &Head, needs: Scope) -> Result<Caller, ApiError> {
        let required =
            || ApiError::bad_request(API_KEY_FIELD, "a credential is required: X-API-Key or X-Admin-Key");
        let caller = self.any_caller(head, needs).await?.ok_or_else(required)?;
        self.limiter.admit(caller.bucket(), head.now_ms)?;
        Ok(caller)
    }

    /// Returns the app of a client of another protocol, admitted by the rate limit. `elsewhere` is where its
    /// protocol shows the key.
    async fn shipper(&self, head: &Head, elsewhere: Option<&str>) -> Result<Box<App>, ApiError> {
        let app = app_of_client(&self.apps, head, elsewhere, Scope::Write).await?;
        let app = app.ok_or_else(|| {
            let message =
                "a key is required: X-API-Key, Authorization: Bearer, or Basic with the key as password";
            ApiError::unauthorized(message)
        })?;
        self.limiter.admit(app.app_id.as_str(), head.now_ms)?;
        Ok(Box::new(app))
    }

    /// Returns the caller of this request; `None` without any credential.
    async fn any_caller(&self, head: &Head, needs: Scope) -> Result<Option<Caller>, ApiError> {
        if let Some(shown) = head.headers.get(ADMIN_KEY_HEADER) {
            let wrong = || ApiError::unauthorized("the admin key is invalid");
            let shown = shown.to_str().map_err(|_| wrong())?;
            return match self.admin_key.verify(shown, head.now_ms).await? {
                true => Ok(Some(Caller::Admin)),
                false => Err(wrong()),
            };
        }
        if let Some(token) = view_token(head) {
            return self.reader(token, head, needs).await.map(Some);
        }
        let app = app_of_client(&self.apps, head, None, needs).await?;
        Ok(app.map(|app| Caller::App(Box::new(app))))
    }

    /// The app that a view token reads.
    async fn reader(&self, token: &str, head: &Head, needs: Scope) -> Result<Caller, ApiError> {
        let claims: ViewClaims = match self.tokens.verify(token, head.now_ms).await {
            Ok(claims) => claims,
            Err(TokenError::Unchecked(fault)) => return Err(fault.into()),
            Err(error) => return Err(ApiError::unauthorized(error.to_string())),
        };
        let app = self.apps.find(&claims.app).await?.filter(|app| app.registered_ms == claims.epoch);
        let app = app.ok_or_else(|| ApiError::unauthorized("the token's app is gone"))?;
        head.trail.concerns(&app.app_id);
        if head.header(APP_ID_HEADER).is_some_and(|header| header != app.app_id.as_str()) {
            return Err(ApiError::forbidden("X-App-ID names another app"));
        }
        if needs != Scope::Read {
            let mut error = ApiError::forbidden("a view token only reads");
            error.details = Some(json!({"scope": needs}));
            return Err(error);
        }
        Ok(Caller::App(Box::new(app)))
    }

    /// The app that a path names, if the caller may act for it.
    ///
    /// # Errors
    /// 403 for another app's caller, whether or not the named one exists; for the administration 403
    /// when `X-App-ID` names another, 404 when there is none.
    pub(crate) async fn app_of_path(
        &self,
        caller: &Caller,
        head: &Head,
        id: &str,
    ) -> Result<Box<App>, ApiError> {
        match caller {
            Caller::App(app) if app.app_id.as_str() == id => Ok(app.clone()),
            Caller::App(_) => Err(ApiError::forbidden("the API key belongs to another app")),
            Caller::Admin if head.header(APP_ID_HEADER).is_some_and(|header| header != id) => {
                Err(ApiError::forbidden("X-App-ID names another app"))
            }
            Caller::Admin => {
                let app = self.find_app(id).await?;
                head.trail.concerns(&app.app_id);
                Ok(Box::new(app))
            }
        }
    }

    /// The app that a request is about where its path names none: its caller's, or the one that the
    /// administration names in `app_id` or `X-App-ID`; `None`: all.
    ///
    /// # Errors
    /// As [`Api::app_of_path`].
    pub(crate) async fn app_asked_for(
        &self,
        caller: &Caller,
        head: &Head,
        app_id: Option<&str>,
    ) -> Result<Option<Box<App>>, ApiError> {
        match (caller, app_id.or_else(|| head.header(APP_ID_HEADER))) {
            (_, Some(id)) => self.app_of_path(caller, head, id).await.map(Some),
            (Caller::App(app), None) => Ok(Some(app.clone())),
            (Caller::Admin, None) => Ok(None),
        }
    }

    async fn find_app(&self, id: &str) -> Result<App, ApiError> {
        let app_id: AppId = id.parse().map_err(|_| no_such_app())?;
        self.apps.find(&app_id).await?.ok_or_else(no_such_app)
    }
}

/// The refusal of a request about an app that is not registered, or not any more.
pub(crate) fn no_such_app() -> ApiError {
    ApiError::not_found("no such app")
}
