//! A function's binary as Lambda runs it: a separate process that gets its work from a Runtime API and can
//! be killed.
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says why and stops")]

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader as StdBufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue};
use logferry_core::ports::clock::Clock;
use logferry_service::clock::SystemClock;
use serde_json::Value;
use tokio::io::BufReader;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::http1::{self, Connection, Request, Response};
use crate::stack::PATIENCE;

/// Maximum lines kept of a process's output.
const OUTPUT_LINES: usize = 10_000;
/// Lines shown in the report of a failure.
const REPORTED_LINES: usize = 60;

/// How an invocation ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Invoked {
    Answered(Value),
    /// The function returned an error.
    Failed(Value),
    /// The process was killed, or has ended.
    Died,
}

#[derive(Debug)]
struct Invocation {
    id: String,
    deadline_ms: i64,
    payload: Vec<u8>,
    ended: oneshot::Sender<Invoked>,
}

/// Kills a process with SIGKILL and returns when it is dead.
pub type Killer = Arc<dyn Fn() + Send + Sync>;

/// A running process of a function. Dropping it ends the process.
#[derive(Debug)]
pub struct Process {
    child: Arc<Mutex<Child>>,
    output: Arc<Mutex<VecDeque<String>>>,
    work: mpsc::UnboundedSender<Invocation>,
    server: JoinHandle<()>,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.killer()();
        self.server.abort();
    }
}

impl Process {
    /// Starts `binary` with exactly this environment.
    pub async fn start(function: &str, binary: &Path, env: &BTreeMap<String, String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (work, todo) = mpsc::unbounded_channel();
        let server = tokio::spawn(serve(listener, todo));
        let mut child = Command::new(binary)
            .env_clear()
            .envs(env)
            .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", function)
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1024")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{function}"))
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "stream")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", binary.display()));
        let output = Arc::default();
        collect(child.stdout.take(), &output);
        collect(child.stderr.take(), &output);
        Self { child: Arc::new(Mutex::new(child)), output, work, server }
    }

    #[must_use]
    pub fn killer(&self) -> Killer {
        let child = self.child.clone();
        Arc::new(move || {
            let mut child = child.lock().unwrap();
            // An error means that it has already ended.
            let _ = child.kill();
            child.wait().unwrap();
        })
    }

    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.child.lock().unwrap().try_wait().unwrap().is_some()
    }

    /// Returns the lines it wrote.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.output.lock().unwrap().iter().cloned().collect()
    }

    /// Returns its latest lines.
    #[must_use]
    pub fn output(&self) -> String {
        let lines = self.lines();
        lines[lines.len().saturating_sub(REPORTED_LINES)..].join("\n")
    }

    /// One invocation with this time until its deadline.
    pub async fn invoke(&self, event: &Value, time: Duration) -> Invoked {
        let (ended, mut end) = oneshot::channel();
        let invocation = Invocation {
            id: ulid::Ulid::generate().to_string(),
            deadline_ms: SystemClock.now_ms() + i64::try_from(time.as_millis()).unwrap(),
            payload: event.to_string().into_bytes(),
            ended,
        };
        if self.work.send(invocation).is_err() {
            return Invoked::Died;
        }
        let (begun, patience) = (Instant::now(), PATIENCE + time);
        loop {
            tokio::select! {
                biased;
                end = &mut end => return end.unwrap_or(Invoked::Died),
                () = tokio::time::sleep(Duration::from_millis(5)) => {}
            }
            if self.is_dead() {
                return end.try_recv().unwrap_or(Invoked::Died);
            }
            assert!(begun.elapsed() < patience, "an invocation does not end:\n{}", self.output());
        }
    }
}

/// Reads the output of a process, so that it never blocks on a full pipe.
fn collect(from: Option<impl Read + Send + 'static>, into: &Arc<Mutex<VecDeque<String>>>) {
    let (from, into) = (from.unwrap(), into.clone());
    std::thread::spawn(move || {
        for line in StdBufReader::new(from).lines().map_while(Result::ok) {
            let mut lines = into.lock().unwrap();
            lines.push_back(line);
            if lines.len() > OUTPUT_LINES {
                lines.pop_front();
            }
        }
    });
}

/// Waiting invocations, and running ones by their request ids.
struct Api {
    todo: tokio::sync::Mutex<mpsc::UnboundedReceiver<Invocation>>,
    under_way: Mutex<BTreeMap<String, oneshot::Sender<Invoked>>>,
}

async fn serve(listener: TcpListener, todo: mpsc::UnboundedReceiver<Invocation>) {
    let api = Arc::new(Api { todo: todo.into(), under_way: Mutex::default() });
    while let Ok((stream, _)) = listener.accept().await {
        let api = api.clone();
        tokio::spawn(async move {
            let mut connection: Connection = BufReader::new(stream);
            while let Ok(Some(request)) = http1::read(&mut connection).await {
                let answer = api.answer(&request).await;
                if http1::write(&mut connection, &answer, usize::MAX).await.is_err() {
                    return;
                }
            }
        });
    }
}

impl Api {
    async fn answer(&self, request: &Request) -> Response {
        let path = request.target.trim_start_matches("/2018-06-01/runtime/");
        if path == "invocation/next" {
            let next = self.todo.lock().await.recv().await;
            return next.map_or_else(Response::default, |invocation| self.hand_out(invocation));
        }
        let body = || serde_json::from_slice(&request.body).unwrap_or(Value::Null);
        let ended = match path.trim_start_matches("invocation/").split_once('/') {
            Some((id, "response")) => Some((id, Invoked::Answered(body()))),
            Some((id, "error")) => Some((id, Invoked::Failed(body()))),
            _ => None,
        };
        if let Some((id, end)) = ended
            && let Some(waiting) = self.under_way.lock().unwrap().remove(id)
        {
            // The receiver is gone if the test has failed.
            let _ = waiting.send(end);
        }
        Response { status: 202, headers: HeaderMap::new(), body: r#"{"status":"OK"}"#.into() }
    }

    fn hand_out(&self, invocation: Invocation) -> Response {
        let mut headers = HeaderMap::new();
        let arn = "arn:aws:lambda:us-east-1:000000000000:function:f";
        for (name, value) in [
            ("lambda-runtime-aws-request-id", invocation.id.as_str()),
            ("lambda-runtime-deadline-ms", &invocation.deadline_ms.to_string()),
            ("lambda-runtime-invoked-function-arn", arn),
            ("content-type", "application/json"),
        ] {
            headers.insert(
                http::HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        self.under_way.lock().unwrap().insert(invocation.id, invocation.ended);
        Response { status: 200, headers, body: invocation.payload.into() }
    }
}
