//! The console: static files that the build puts into a folder beside the function's program. Files are
//! found by their names in that folder's list, so a path cannot lead out of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use axum::response::IntoResponse as _;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY, X_FRAME_OPTIONS,
};
use http::{HeaderName, StatusCode};
use logferry_service::http::{Answer, ApiError, Bytes, Operation, PathPart, Response, State};
use serde_json::json;

use crate::{Cloud, Shared};

/// The folder's name.
const FOLDER: &str = "console";
const INDEX: &str = "index.html";

/// What the console may load and do: its own files and this API. No script, style or string from a record
/// can become code: scripts come from files only, and the DOM's sinks of HTML take no strings
/// (`require-trusted-types-for`, without any policy that makes them).
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

/// Names of scripts and styles contain a hash of their content, those of other files do not.
const KEEP: &str = "public, max-age=31536000, immutable";
const ASK_AGAIN: &str = "no-cache";

/// The files of the console, read when the first of them is asked for.
#[derive(Debug)]
pub struct Console {
    /// `None`: the console is turned off.
    folder: Option<PathBuf>,
    files: OnceLock<BTreeMap<String, Bytes>>,
}

impl Console {
    /// Serves the files in a folder; `None`: serves nothing.
    #[must_use]
    pub fn in_folder(folder: Option<PathBuf>) -> Self {
        Self { folder, files: OnceLock::new() }
    }

    /// Serves the files beside this program, if `serve` says so.
    #[must_use]
    pub fn beside_program(serve: bool) -> Self {
        let program = std::env::current_exe().ok().filter(|_| serve);
        Self::in_folder(program.and_then(|program| Some(program.parent()?.join(FOLDER))))
    }

    fn file(&self, name: &str) -> Answer {
        let Some(folder) = &self.folder else { return Err(ApiError::not_found("no such path")) };
        let files = self.files.get_or_init(|| read(folder));
        if !files.contains_key(INDEX) {
            let message = "this package of the api function has no console: `make console` builds it, and the \
                           next `make up`, `make build` or `make deploy` packs it";
            return Err(ApiError::not_found(message));
        }
        let found = files.get(name).ok_or_else(|| ApiError::not_found("the console has no such file"))?;
        Ok(shown(name, found.clone()))
    }
}

/// Reads the files of a folder; a folder that is missing is one without files.
fn read(folder: &Path) -> BTreeMap<String, Bytes> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            tracing::warn!(folder = %folder.display(), error = %error, "the console's files cannot be read");
            return BTreeMap::new();
        }
    };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let files = paths.filter_map(|path| {
        let name = path.file_name()?.to_str()?.to_owned();
        Some((name, std::fs::read(&path).ok()?.into()))
    });
    files.collect()
}

fn shown(name: &str, content: Bytes) -> Response {
    let (kind, cache) = match name.rsplit('.').next() {
        Some("html") => ("text/html; charset=utf-8", ASK_AGAIN),
        Some("js") => ("text/javascript; charset=utf-8", KEEP),
        Some("css") => ("text/css; charset=utf-8", KEEP),
        Some("svg") => ("image/svg+xml", ASK_AGAIN),
        _ => ("application/octet-stream", ASK_AGAIN),
    };
    let headers = [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, cache),
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, "no-referrer"),
        (X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    (StatusCode::OK, headers, content).into_response()
}

pub(crate) fn redirects(operation: &mut Operation) {
    operation.answers_nothing(302, "to `console/`, relative");
    operation.errors.insert(404);
}

pub(crate) fn shows_page(operation: &mut Operation) {
    operation.answers_as(200, "the page", "text/html", json!({"type": "string"}));
    operation.errors.insert(404);
}

pub(crate) fn shows_file(operation: &mut Operation) {
    let name = json!({"type": "string", "examples": ["icon.svg"]});
    operation.takes("path", "file", "A file that the page names.", name);
    for kind in ["text/html", "text/javascript", "text/css", "image/svg+xml", "application/octet-stream"] {
        operation.answers_as(200, "the file", kind, json!({"type": "string"}));
    }
    operation.errors.insert(404);
}

/// Relative: the API may have a path of its own in front.
pub(crate) async fn to_page<C: Cloud>(State(api): Shared<C>) -> Answer {
    api.console.file(INDEX)?;
    Ok((StatusCode::FOUND, [(LOCATION, "console/")]).into_response())
}

pub(crate) async fn page<C: Cloud>(State(api): Shared<C>) -> Answer {
    api.console.file(INDEX)
}

pub(crate) async fn file<C: Cloud>(State(api): Shared<C>, part: PathPart) -> Answer {
    api.console.file(part.get("file"))
}
