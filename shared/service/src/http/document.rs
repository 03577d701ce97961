//! Routes, listed once: for the router that answers them, and for the OpenAPI document that describes
//! them. What a handler takes is described by the types of its arguments ([`Describe`]).

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::State;
use axum::handler::Handler;
use axum::routing::{MethodFilter, on};
use http::Method;
use serde_json::{Map, Value, json};
use utoipa::openapi::path::ParameterIn;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, ToSchema};

use super::ApiError;

const JSON: &str = "application/json";

/// A route, as the document introduces it.
#[derive(Clone)]
pub struct Route {
    pub method: Method,
    /// As a pattern, without the version.
    pub path: &'static str,
    id: &'static str,
    tag: &'static str,
    summary: &'static str,
    describe: Vec<fn(&mut Operation)>,
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

impl Route {
    fn new(method: Method, path: &'static str, id: &'static str, tag: &'static str) -> Self {
        Self { method, path, id, tag, summary: "", describe: Vec::new() }
    }

    #[must_use]
    pub fn get(path: &'static str, id: &'static str, tag: &'static str) -> Self {
        Self::new(Method::GET, path, id, tag)
    }

    #[must_use]
    pub fn post(path: &'static str, id: &'static str, tag: &'static str) -> Self {
        Self::new(Method::POST, path, id, tag)
    }

    #[must_use]
    pub fn put(path: &'static str, id: &'static str, tag: &'static str) -> Self {
        Self::new(Method::PUT, path, id, tag)
    }

    #[must_use]
    pub fn patch(path: &'static str, id: &'static str, tag: &'static str) -> Self {
        Self::new(Method::PATCH, path, id, tag)
    }

    #[must_use]
    pub fn delete(path: &'static str, id: &'static str, tag: &'static str) -> Self {
        Self::new(Method::DELETE, path, id, tag)
    }

    /// What it does, in a line.
    #[must_use]
    pub fn says(mut self, summary: &'static str) -> Self {
        self.summary = summary;
        self
    }

    /// Further facts: the shapes of its answers, errors of its own.
    #[must_use]
    pub fn with(mut self, describe: fn(&mut Operation)) -> Self {
        self.describe.push(describe);
        self
    }

    /// It answers `{"ok": true, "data": T}`.
    #[must_use]
    pub fn data<T: ToSchema>(self) -> Self {
        self.with(|operation| operation.answers_data::<T>(200, "done"))
    }

    /// It answers a page of a list of `T`.
    #[must_use]
    pub fn list<T: ToSchema>(self) -> Self {
        self.with(|operation| {
            let item = operation.schemas.reference::<T>();
            operation.errors.insert(400);
            let mut page = enveloped(json!({"type": "array", "items": item}));
            page["properties"]["cursor"] = json!({"type": ["string", "null"],
                "description": "Where the next page begins; null on the last one."});
            operation.answers(200, "a page", page);
        })
    }

    /// It answers `T`, without the envelope.
    #[must_use]
    pub fn plain<T: ToSchema>(self) -> Self {
        self.with(|operation| {
            let schema = operation.schemas.reference::<T>();
            operation.answers(200, "done", schema);
        })
    }
}

/// How the errors of an operation look: the envelope, or what its protocol's clients read.
#[derive(Debug, Clone, Copy)]
pub struct ErrorShape {
    /// Precedes the names of its responses and of its schema in the document.
    pub name: &'static str,
    /// Returns a schema for each content type.
    pub schemas: fn() -> Vec<(&'static str, Value)>,
}

impl Default for ErrorShape {
    fn default() -> Self {
        Self { name: "", schemas: || vec![(JSON, envelope_schema())] }
    }
}

impl ErrorShape {
    /// The schema of an object, to which the request's id is added as to every error.
    #[must_use]
    pub fn object(required: &[&str], mut properties: Value) -> Value {
        properties["request_id"] =
            json!({"type": "string", "description": "As in the header `X-Request-ID`."});
        json!({"type": "object", "required": required, "properties": properties})
    }
}

fn envelope_schema() -> Value {
    let error = json!({"type": "object", "required": ["code", "message"], "properties": {
        "code": {"type": "string", "description": "For programs."},
        "message": {"type": "string", "description": "For people."},
        "details": {"type": "object"}}});
    ErrorShape::object(&["ok", "error"], json!({"ok": {"const": false}, "error": error}))
}

/// A reference to the schema of an error in the envelope.
#[must_use]
pub fn envelope_error() -> Value {
    json!({"$ref": "#/components/schemas/Error"})
}

/// An operation of the document while it is described.
#[derive(Debug, Default)]
pub struct Operation {
    pub schemas: Schemas,
    pub parameters: Vec<Value>,
    /// Accepted credentials, each with the scopes that it must have; empty: none is needed.
    pub security: Vec<Value>,
    /// Statuses of errors that it may answer with.
    pub errors: BTreeSet<u16>,
    /// How its errors look.
    pub error_shape: ErrorShape,
    body: Option<Value>,
    answers: BTreeMap<u16, Value>,
}

impl Operation {
    /// It takes a JSON body.
    pub fn takes_body<T: ToSchema>(&mut self, required: bool) {
        let schema = self.schemas.reference::<T>();
        self.body = Some(json!({"required": required, "content": {"application/json": {"schema": schema}}}));
        self.errors.extend([400, 413, 415]);
    }

    /// It takes a body of another type as well, or instead.
    pub fn takes_body_as(&mut self, content_type: &str, schema: Value) {
        let body = self.body.get_or_insert_with(|| json!({"required": true, "content": {}}));
        body["content"][content_type] = json!({"schema": schema});
    }

    /// It takes these query parameters.
    pub fn takes_query<T: IntoParams>(&mut self) {
        let parameters = T::into_params(|| Some(ParameterIn::Query));
        self.parameters.extend(parameters.iter().map(value).map(without_null));
    }

    /// It takes a parameter that is not of a query string.
    pub fn takes(&mut self, place: &str, name: &str, description: &str, schema: Value) {
        self.parameters.push(json!({"name": name, "in": place, "required": place == "path",
            "description": description, "schema": schema}));
    }

    /// It answers JSON of a shape.
    pub fn answers(&mut self, status: u16, description: &str, schema: Value) {
        self.answers_as(status, description, "application/json", schema);
    }

    /// It answers `{"ok": true, "data": T}`.
    pub fn answers_data<T: ToSchema>(&mut self, status: u16, description: &str) {
        let data = self.schemas.reference::<T>();
        self.answers_enveloped(status, description, data);
    }

    /// It answers `{"ok": true, "data": …}`, whose data have a schema.
    pub fn answers_enveloped(&mut self, status: u16, description: &str, data: Value) {
        self.answers(status, description, enveloped(data));
    }

    /// It answers `{"ok": true, "data": [T, …]}`.
    pub fn answers_data_array<T: ToSchema>(&mut self, status: u16, description: &str) {
        let item = self.schemas.reference::<T>();
        self.answers_enveloped(status, description, json!({"type": "array", "items": item}));
    }

    /// It answers without a body.
    pub fn answers_nothing(&mut self, status: u16, description: &str) {
        self.answers.insert(status, json!({"description": description}));
    }

    /// It answers something of a content type.
    pub fn answers_as(&mut self, status: u16, description: &str, content_type: &str, schema: Value) {
        let answer =
            self.answers.entry(status).or_insert_with(|| json!({"description": description, "content": {}}));
        answer["content"][content_type] = json!({"schema": schema});
    }

    fn into_value(self, route: &Route, schemas: &mut Schemas) -> Value {
        let mut responses = Map::new();
        for (status, answer) in self.answers {
            responses.insert(status.to_string(), answer);
        }
        for status in &self.errors {
            let name = error_of(*status).0;
            let reference = format!("#/components/responses/{}{name}", self.error_shape.name);
            responses.insert(status.to_string(), json!({"$ref": reference}));
        }
        schemas.0.extend(self.schemas.0);
        let mut operation = json!({"operationId": route.id, "tags": [route.tag], "summary": route.summary,
            "security": self.security});
        if !self.parameters.is_empty() {
            operation["parameters"] = self.parameters.into();
        }
        if let Some(body) = self.body {
            operation["requestBody"] = body;
        }
        operation["responses"] = responses.into();
        operation
    }
}

/// A query string has no null: a parameter that may be missing is one that is not required.
fn without_null(mut parameter: Value) -> Value {
    if let Some(Value::Array(types)) = parameter["schema"].get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = types.as_slice() {
            parameter["schema"]["type"] = only.clone();
        }
    }
    parameter
}

/// `{"ok": true, "data": …}`
fn enveloped(data: Value) -> Value {
    json!({"type": "object", "required": ["ok", "data"],
        "properties": {"ok": {"const": true}, "data": data}})
}

fn value(of: &impl serde::Serialize) -> Value {
    serde_json::to_value(of).unwrap_or_default()
}

/// Shapes by name.
#[derive(Debug, Clone, Default)]
pub struct Schemas(BTreeMap<String, Value>);

impl Schemas {
    /// A reference to a shape, which is kept with all that it refers to.
    pub fn reference<T: ToSchema>(&mut self) -> Value {
        let mut below: Vec<(String, RefOr<Schema>)> = Vec::new();
        T::schemas(&mut below);
        self.0.extend(below.iter().map(|(name, schema)| (name.clone(), value(schema))));
        let name = T::name();
        self.0.insert(name.to_string(), value(&T::schema()));
        json!({"$ref": format!("#/components/schemas/{name}")})
    }

    /// No members but those of the shape are taken.
    pub(crate) fn close<T: ToSchema>(&mut self) {
        if let Some(schema) = self.0.get_mut(&*T::name()) {
            schema["additionalProperties"] = false.into();
        }
    }
}

/// What an argument of a handler says about its operation.
pub trait Describe {
    /// Adds it.
    fn describe(_operation: &mut Operation) {}
}

impl<S> Describe for State<S> {}

/// An argument whose refusal the handler answers by itself.
impl<T: Describe> Describe for Result<T, ApiError> {
    fn describe(operation: &mut Operation) {
        T::describe(operation);
    }
}

macro_rules! describe_arguments {
    ($($argument:ident)*) => {
        // The tuple by which axum tells handlers apart: a marker, then the arguments.
        impl<Marker, $($argument: Describe),*> Describe for (Marker, $($argument,)*) {
            fn describe(_operation: &mut Operation) {
                $($argument::describe(_operation);)*
            }
        }
    };
}

describe_arguments!(A);
describe_arguments!(A B);
describe_arguments!(A B C);
describe_arguments!(A B C D);
describe_arguments!(A B C D E);

impl Describe for ((),) {}

/// What routes are listed into: a router, or a document.
pub trait Routes<S>: Sized {
    /// Adds a route and what answers it.
    #[must_use]
    fn add<H, T>(self, route: Route, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: Describe + 'static,
        S: Clone + Send + Sync + 'static;
}

impl<S: Clone + Send + Sync + 'static> Routes<S> for axum::Router<S> {
    fn add<H, T>(self, route: Route, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: Describe + 'static,
    {
        let filter = match route.method {
            Method::POST => MethodFilter::POST,
            Method::PUT => MethodFilter::PUT,
            Method::PATCH => MethodFilter::PATCH,
            Method::DELETE => MethodFilter::DELETE,
            // HEAD as well.
            _ => MethodFilter::GET,
        };
        self.route(route.path, on(filter, handler))
    }
}

/// The OpenAPI document of routes.
#[derive(Debug, Default)]
pub struct Document {
    schemas: Schemas,
    /// In the order in which they were listed.
    pub routes: Vec<Route>,
    operations: Vec<Value>,
    /// The errors that its operations refer to, by status and the name of their shape.
    errors: BTreeMap<(u16, &'static str), ErrorShape>,
}

impl<S> Routes<S> for Document {
    fn add<H, T>(mut self, route: Route, _: H) -> Self
    where
        H: Handler<T, S>,
        T: Describe + 'static,
        S: Clone + Send + Sync + 'static,
    {
        let mut operation = Operation { errors: BTreeSet::from([500]), ..Operation::default() };
        T::describe(&mut operation);
        for describe in &route.describe {
            describe(&mut operation);
        }
        let shape = operation.error_shape;
        self.errors.extend(operation.errors.iter().map(|status| ((*status, shape.name), shape)));
        self.operations.push(operation.into_value(&route, &mut self.schemas));
        self.routes.push(route);
        self
    }
}

/// The errors that operations share: status, name, meaning.
const ERRORS: [(u16, &str, &str); 12] = [
    (400, "BadRequest", "a field is wrong, `details.field` names it, or a required credential is missing"),
    (401, "Unauthorized", "a wrong credential"),
    (403, "Forbidden", "the credential is another app's, or lacks the scope that `details.scope` names"),
    (404, "NotFound", "it does not exist"),
    (405, "MethodNotAllowed", "the path has other methods, see `Allow`"),
    (409, "Conflict", "it conflicts with what there is"),
    (413, "TooLarge", "the body, or what it asks for, is too large"),
    (415, "UnsupportedMediaType", "the body has a type or an encoding that the route does not take"),
    (422, "KeyReused", "this `Idempotency-Key` was used with another body"),
    (429, "RateLimited", "too many requests, or the app's quota of the day is used up"),
    (500, "Internal", "an error in Logferry or AWS"),
    (503, "Unavailable", "a temporary error in AWS: retry after `Retry-After` seconds"),
];

/// The name and the meaning of a status.
fn error_of(status: u16) -> (&'static str, &'static str) {
    let known = ERRORS.iter().find(|(known, ..)| *known == status);
    known.map_or(("Internal", "an error in Logferry or AWS"), |(_, name, meaning)| (name, meaning))
}

impl Document {
    /// The routes of another function, after these.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.schemas.0.extend(other.schemas.0);
        self.routes.extend(other.routes);
        self.operations.extend(other.operations);
        self.errors.extend(other.errors);
        self
    }

    /// The document. `unversioned` are the beginnings of paths that the document shows without `/v1`.
    #[must_use]
    pub fn finish(mut self, info: Value, security_schemes: Value, unversioned: &[&str]) -> Value {
        let mut paths = Map::new();
        let mut tags: Vec<&str> = Vec::new();
        for (route, operation) in self.routes.iter().zip(self.operations) {
            if !tags.contains(&route.tag) {
                tags.push(route.tag);
            }
            let item = paths.entry(route.path).or_insert_with(|| json!({}));
            if unversioned.iter().any(|beginning| route.path.starts_with(beginning)) {
                item["servers"] = json!([{"url": "."}]);
            }
            item[route.method.as_str().to_ascii_lowercase()] = operation;
        }
        let mut responses = Map::new();
        for ((status, shape), ErrorShape { schemas, .. }) in self.errors {
            let (name, meaning) = error_of(status);
            let mut content = Map::new();
            for (content_type, mut schema) in schemas() {
                if content_type == JSON {
                    let component = format!("{shape}Error");
                    let reference = json!({"$ref": format!("#/components/schemas/{component}")});
                    self.schemas.0.insert(component, std::mem::replace(&mut schema, reference));
                }
                content.insert(content_type.to_owned(), json!({"schema": schema}));
            }
            let mut response = json!({"description": meaning, "content": content});
            let header = match status {
                401 => Some(("WWW-Authenticate", "string")),
                429 | 503 => Some(("Retry-After", "integer")),
                _ => None,
            };
            if let Some((header, kind)) = header {
                response["headers"] = json!({header: {"schema": {"type": kind}}});
            }
            responses.insert(format!("{shape}{name}"), response);
        }
        json!({
            "openapi": "3.1.0",
            "info": info,
            "servers": [{"url": "v1"}, {"url": ".", "description": "Without the version."}],
            "tags": tags.iter().map(|tag| json!({"name": tag})).collect::<Vec<_>>(),
            "paths": paths,
            "components": {
                "schemas": self.schemas.0, "responses": responses, "securitySchemes": security_schemes,
            },
        })
    }
}
