//! Authenticates requests: the administrator, or an app by one of its keys.

use logferry_core::model::app::{App as Tenant, AppId};
use logferry_core::ports::apps::Apps;
use logferry_service::api_key::{ADMIN_KEY_HEADER, APP_ID_HEADER, app_of_request};
use logferry_service::http::{ApiError, Request};

use crate::{Action, App, Cloud};

/// The authenticated caller.
#[derive(Debug, Clone, PartialEq)]
pub enum Caller {
    Admin,
    App(Box<Tenant>),
}

impl Caller {
    /// Returns the rate limit bucket of the caller.
    pub(crate) fn bucket(&self) -> &str {
        match self {
            // No app has this id.
            Self::Admin => "*",
            Self::App(app) => app.app_id.as_str(),
        }
    }
}

fn admin_alone(action: Action) -> bool {
    matches!(action, Action::RegisterApp)
}

impl<C: Cloud> App<C> {
    /// Authenticates a request.
    ///
    /// # Errors
    /// 400 without any credential (401 on routes for the administrator only), 401 for wrong ones, 403 for a
    /// key without the scope of the action.
    pub(crate) async fn caller(
        &self,
        request: &Request,
        action: Action,
        now_ms: i64,
    ) -> Result<Caller, ApiError> {
        if let Some(shown) = request.headers.get(ADMIN_KEY_HEADER) {
            let wrong = || ApiError::unauthorized("the admin key is invalid");
            let shown = shown.to_str().map_err(|_| wrong())?;
            return match self.admin_key.verify(shown, now_ms).await? {
                true => Ok(Caller::Admin),
                false => Err(wrong()),
            };
        }
        match app_of_request(&self.apps, request, action.scope()).await? {
            Some(_) if admin_alone(action) => {
                Err(ApiError::forbidden("only the administrator may do this: send X-Admin-Key"))
            }
            Some(app) => Ok(Caller::App(Box::new(app))),
            None if admin_alone(action) => Err(ApiError::unauthorized("X-Admin-Key is required")),
            None => {
                Err(ApiError::bad_request("X-API-Key", "a credential is required: X-API-Key or X-Admin-Key"))
            }
        }
    }

    /// Returns the app named in a path, if the caller may act for it.
    ///
    /// # Errors
    /// 403 for a caller of another app, whether or not the named app exists. For the administrator, 403 if
    /// `X-App-ID` names another app, 404 if there is none.
    pub(crate) async fn app_of_path(
        &self,
        caller: &Caller,
        request: &Request,
        id: &str,
    ) -> Result<Tenant, ApiError> {
        match caller {
            Caller::App(app) if app.app_id.as_str() == id => Ok((**app).clone()),
            Caller::App(_) => Err(ApiError::forbidden("the API key belongs to another app")),
            Caller::Admin if request.header(APP_ID_HEADER).is_some_and(|header| header != id) => {
                Err(ApiError::forbidden("X-App-ID names another app"))
            }
            Caller::Admin => {
                let app = self.find_app(id).await?;
                request.trail.concerns(&app.app_id);
                Ok(app)
            }
        }
    }

    /// Returns the app of a request without an app in its path: the caller's, or the one that the
    /// administrator names in `app_id` or `X-App-ID`. `None` means all.
    ///
    /// # Errors
    /// As [`App::app_of_path`].
    pub(crate) async fn app_asked_for(
        &self,
        caller: &Caller,
        request: &Request,
    ) -> Result<Option<Tenant>, ApiError> {
        let named = request.param("app_id").or_else(|| request.header(APP_ID_HEADER));
        match (caller, named) {
            (_, Some(id)) => self.app_of_path(caller, request, id).await.map(Some),
            (Caller::App(app), None) => Ok(Some((**app).clone())),
            (Caller::Admin, None) => Ok(None),
        }
    }

    async fn find_app(&self, id: &str) -> Result<Tenant, ApiError> {
        let unknown = || ApiError::not_found("no such app");
        let app_id: AppId = id.parse().map_err(|_| unknown())?;
        self.apps.find(&app_id).await?.ok_or_else(unknown)
    }
}
