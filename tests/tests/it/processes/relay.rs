//! A relay between a function's process and the emulator. It knows the name of every call, makes chosen
//! ones fail in nine ways, and kills the process at a chosen one. Calls that start `ingest` end here: they
//! are kept for the test to deliver.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use logferry_tests::http1::{self, Connection, Request, Response};
use logferry_tests::process::Killer;

/// How long after its client hung up a late call is processed: after the client's next attempt.
const LATE_BY: Duration = Duration::from_millis(1500);

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// The service throttles, with its own error code.
    Throttled,
    InternalError,
    /// 503, with an HTML page.
    Unavailable,
    /// The credentials are reported as expired.
    Expired,
    /// The connection is reset before the call is processed.
    Reset,
    /// It is processed, and the connection is reset instead of a response.
    ReplyLost,
    /// It is processed, and its response is truncated.
    CutShort,
    /// It is processed, and its response is a 200 with other content.
    Garbled,
    /// No response; it is processed when its client has given up and retried.
    Late,
}

impl Fault {
    pub(super) const ALL: [Self; 9] = [
        Self::Throttled,
        Self::InternalError,
        Self::Unavailable,
        Self::Expired,
        Self::Reset,
        Self::ReplyLost,
        Self::CutShort,
        Self::Garbled,
        Self::Late,
    ];
}

/// When, during a call, its process is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// The call is not processed.
    Before,
    /// It is processed, and its response is lost.
    Meanwhile,
    /// This long after its response.
    After(Duration),
}

/// Calls with this name fail `times` times, after the first `skip`.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    pub(super) name: String,
    pub(super) skip: usize,
    pub(super) fault: Fault,
    pub(super) times: u32,
}

struct PlannedKill {
    /// Calls until then.
    left: usize,
    moment: Moment,
    killer: Killer,
}

#[derive(Default)]
struct State {
    /// Names of all calls since the last time, in order.
    calls: Vec<String>,
    /// Planned faults, and how often each occurred.
    faults: Vec<(Planned, u32)>,
    /// Whether faults occur now.
    harmful: bool,
    kill: Option<PlannedKill>,
    fired: u32,
    /// Events of starts of `ingest`.
    started: Vec<Value>,
    /// The messages of each accepted PutLogEvents request.
    sent: Vec<Vec<String>>,
    late: Vec<JoinHandle<()>>,
}

struct Shared {
    upstream: String,
    http: reqwest::Client,
    state: Mutex<State>,
}

pub(super) struct Relay {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.server.abort();
    }
}

enum Harm {
    None,
    Fault(Fault, u32),
    Kill(Moment, Killer),
}

enum Then {
    GoOn,
    Close,
    Reset,
}

impl Relay {
    pub(super) async fn start(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            upstream: upstream.trim_end_matches('/').to_owned(),
            http: reqwest::Client::builder()
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .build()
                .unwrap(),
            state: Mutex::default(),
        });
        let serving = shared.clone();
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        Self { address, shared, server }
    }

    /// Returns the names of the calls since the last time.
    pub(super) fn take_calls(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.state.lock().unwrap().calls)
    }

    /// Returns the events of starts of `ingest` since the last time.
    pub(super) fn take_started(&self) -> Vec<Value> {
        std::mem::take(&mut self.shared.state.lock().unwrap().started)
    }

    /// The messages of each accepted PutLogEvents request.
    pub(super) fn sent(&self) -> Vec<Vec<String>> {
        self.shared.state.lock().unwrap().sent.clone()
    }

    /// Replaces the planned faults; they start with [`Relay::be_harmful`].
    pub(super) fn plan(&self, faults: &[Planned]) {
        let mut state = self.shared.state.lock().unwrap();
        state.faults = faults.iter().map(|planned| (planned.clone(), 0)).collect();
    }

    pub(super) fn be_harmful(&self) {
        self.shared.state.lock().unwrap().harmful = true;
    }

    /// Returns the planned faults that have not occurred.
    pub(super) fn unfired(&self) -> Vec<Planned> {
        let state = self.shared.state.lock().unwrap();
        state.faults.iter().filter(|(_, fired)| *fired == 0).map(|(planned, _)| planned.clone()).collect()
    }

    /// Kills at the call with this number, counted from 0.
    pub(super) fn plan_kill(&self, number: usize, moment: Moment, killer: Killer) {
        let mut state = self.shared.state.lock().unwrap();
        state.kill = Some(PlannedKill { left: number, moment, killer });
    }

    /// Stops faults. Returns how many occurred since the last time, when all late calls have been
    /// processed.
    pub(super) async fn calm_down(&self) -> u32 {
        let (fired, late) = {
            let mut state = self.shared.state.lock().unwrap();
            (state.harmful, state.kill) = (false, None);
            (std::mem::take(&mut state.fired), std::mem::take(&mut state.late))
        };
        for task in late {
            task.await.unwrap();
        }
        fired
    }
}

impl Shared {
    async fn serve(self: Arc<Self>, stream: TcpStream) {
        let mut connection: Connection = BufReader::new(stream);
        while let Ok(Some(request)) = http1::read(&mut connection).await {
            match self.handle(request, &mut connection).await {
                Then::GoOn => {}
                Then::Close => return,
                Then::Reset => {
                    // Closed this way, the other side sees a reset instead of an end.
                    connection.get_ref().set_zero_linger().unwrap();
                    return;
                }
            }
        }
    }

    fn harm(&self, name: &str) -> Harm {
        let mut state = self.state.lock().unwrap();
        state.calls.push(name.to_owned());
        if let Some(kill) = &mut state.kill {
            if kill.left > 0 {
                kill.left -= 1;
                return Harm::None;
            }
            state.fired += 1;
            return state.kill.take().map_or(Harm::None, |kill| Harm::Kill(kill.moment, kill.killer));
        }
        if !state.harmful {
            return Harm::None;
        }
        let Some((planned, fired)) = state.faults.iter_mut().find(|(planned, _)| planned.name == name) else {
            return Harm::None;
        };
        if planned.skip > 0 {
            planned.skip -= 1;
            return Harm::None;
        }
        if *fired == planned.times {
            return Harm::None;
        }
        *fired += 1;
        let harm = Harm::Fault(planned.fault, *fired);
        state.fired += 1;
        harm
    }

    async fn handle(self: &Arc<Self>, request: Request, connection: &mut Connection) -> Then {
        let name = name(&request);
        let write = async |connection: &mut Connection, answer: &Response, most: usize| match http1::write(
            connection, answer, most,
        )
        .await
        {
            Ok(()) => Then::GoOn,
            Err(_) => Then::Close,
        };
        match self.harm(&name) {
            Harm::None => {
                let answer = self.forward(&name, &request).await;
                write(connection, &answer, usize::MAX).await
            }
            Harm::Kill(Moment::Before, killer) => {
                killer();
                Then::Close
            }
            Harm::Kill(Moment::Meanwhile, killer) => {
                killer();
                self.forward(&name, &request).await;
                Then::Close
            }
            Harm::Kill(Moment::After(pause), killer) => {
                let answer = self.forward(&name, &request).await;
                let then = write(connection, &answer, usize::MAX).await;
                tokio::spawn(async move {
                    tokio::time::sleep(pause).await;
                    killer();
                });
                then
            }
            Harm::Fault(fault, time) => match fault {
                Fault::Throttled | Fault::InternalError | Fault::Unavailable | Fault::Expired => {
                    write(connection, &refusal(fault, time, &name, &request), usize::MAX).await
                }
                Fault::Reset => Then::Reset,
                Fault::ReplyLost => {
                    self.forward(&name, &request).await;
                    Then::Reset
                }
                Fault::CutShort => {
                    let answer = self.forward(&name, &request).await;
                    // Without a body, only the head can be lost.
                    if request.method != "HEAD" && !answer.body.is_empty() {
                        write(connection, &answer, answer.body.len() / 2).await;
                    }
                    Then::Close
                }
                Fault::Garbled => {
                    self.forward(&name, &request).await;
                    let body = Bytes::from_static(b"<html>Welcome to this network</html>");
                    let most = if request.method == "HEAD" { 0 } else { usize::MAX };
                    let answer = Response { status: 200, headers: typed("text/html"), body };
                    write(connection, &answer, most).await
                }
                Fault::Late => {
                    // Until the client hangs up; it sends nothing more.
                    let _ = connection.read(&mut [0; 1]).await;
                    let shared = self.clone();
                    let late = tokio::spawn(async move {
                        tokio::time::sleep(LATE_BY).await;
                        shared.forward(&name, &request).await;
                    });
                    self.state.lock().unwrap().late.push(late);
                    Then::Close
                }
            },
        }
    }

    /// Forwards a call to the emulator.
    async fn forward(&self, name: &str, request: &Request) -> Response {
        if name == "Lambda.Invoke" {
            let event = serde_json::from_slice(&request.body).unwrap();
            self.state.lock().unwrap().started.push(event);
            return Response { status: 202, ..Response::default() };
        }
        let url = format!("{}{}", self.upstream, request.target);
        let method = reqwest::Method::from_bytes(request.method.as_bytes()).unwrap();
        let mut headers = request.headers.clone();
        headers.remove("connection");
        let sent = self.http.request(method, url).headers(headers).body(request.body.clone());
        let answer = sent.send().await.unwrap_or_else(|error| panic!("{name}: no answer: {error}"));
        let (status, mut headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = answer.bytes().await.unwrap_or_else(|error| panic!("{name}: {error}"));
        for name in ["connection", "transfer-encoding"] {
            headers.remove(name);
        }
        if status == 200 && name == "Logs.PutLogEvents" {
            let events: Value = serde_json::from_slice(&request.body).unwrap();
            let events = events["logEvents"].as_array().unwrap().iter();
            let messages = events.map(|event| event["message"].as_str().unwrap().to_owned()).collect();
            self.state.lock().unwrap().sent.push(messages);
        }
        Response { status, headers, body }
    }
}

/// Service and operation, and for DynamoDB the tables: `DynamoDB.UpdateItem files`.
fn name(request: &Request) -> String {
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    if let Some(target) = request.headers.get("x-amz-target") {
        let (version, operation) = target.to_str().unwrap().split_once('.').unwrap();
        let service = version.split('_').next().unwrap();
        let tables = if service == "DynamoDB" { tables(&request.body) } else { String::new() };
        return format!("{service}.{operation}{tables}");
    }
    if path.starts_with("/2015-03-31/functions/") {
        return "Lambda.Invoke".to_owned();
    }
    let has = |name: &str| query.split('&').any(|part| part.split('=').next() == Some(name));
    let is_object = path.trim_start_matches('/').split_once('/').is_some_and(|(_, key)| !key.is_empty());
    let operation = match request.method.as_str() {
        "GET" if has("versions") => "ListObjectVersions",
        "GET" if has("uploadId") => "ListParts",
        "GET" if is_object => "GetObject",
        "HEAD" if is_object => "HeadObject",
        "PUT" if is_object => "PutObject",
        "DELETE" if has("uploadId") => "AbortMultipartUpload",
        _ => return format!("S3 {} {}", request.method, request.target),
    };
    format!("S3.{operation}")
}

/// The tables of a request, without the test's prefix.
fn tables(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let mut names = BTreeSet::new();
    names.extend(body["TableName"].as_str().map(str::to_owned));
    names.extend(body["RequestItems"].as_object().into_iter().flat_map(|items| items.keys().cloned()));
    for action in body["TransactItems"].as_array().into_iter().flatten() {
        let action = action.as_object().into_iter().flat_map(|action| action.values());
        names.extend(action.filter_map(|action| action["TableName"].as_str().map(str::to_owned)));
    }
    let roles = names.iter().map(|name| name.split('.').next().unwrap_or(name));
    roles.map(|role| format!(" {role}")).collect()
}

fn typed(content_type: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(http::header::CONTENT_TYPE, HeaderValue::from_static(content_type))])
}

/// The response of a service that does not process the call, for the `time`-th time.
fn refusal(fault: Fault, time: u32, name: &str, request: &Request) -> Response {
    let service = name.split('.').next().unwrap_or_default();
    let throttles = ["ThrottlingException", "ProvisionedThroughputExceededException", "RequestLimitExceeded"];
    let (status, code) = match (fault, service) {
        (Fault::Throttled, "DynamoDB") => (400, throttles[time as usize % throttles.len()]),
        (Fault::Throttled, "S3") => (503, "SlowDown"),
        (Fault::Throttled, "Lambda") => (429, "TooManyRequestsException"),
        (Fault::Throttled, _) => (400, "ThrottlingException"),
        (Fault::InternalError, "S3") => (500, "InternalError"),
        (Fault::InternalError, "Lambda") => (500, "ServiceException"),
        (Fault::InternalError, _) => (500, "InternalServerError"),
        (Fault::Expired, "S3") => (400, "ExpiredToken"),
        (Fault::Expired, "Lambda") => (403, "ExpiredTokenException"),
        (Fault::Expired, _) => (400, "ExpiredTokenException"),
        _ => {
            let body = Bytes::from_static(b"<html><h1>503 Service Unavailable</h1></html>");
            return Response { status: 503, headers: typed("text/html"), body };
        }
    };
    let (headers, body) = match service {
        "S3" if request.method == "HEAD" => (typed("application/xml"), String::new()),
        "S3" => (
            typed("application/xml"),
            format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>planned</Message></Error>"),
        ),
        "Lambda" => {
            let mut headers = typed("application/json");
            headers.insert("x-amzn-errortype", HeaderValue::from_static(code));
            (headers, json!({"Message": "planned"}).to_string())
        }
        _ => (
            typed("application/x-amz-json-1.1"),
            json!({"__type": format!("com.amazonaws#{code}"), "message": "planned"}).to_string(),
        ),
    };
    Response { status, headers, body: body.into() }
}
