//! A function's own binary under a Lambda runtime of the test's: what its environment says, which event
//! it is given and how long it may take are the test's to choose.
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>
#![expect(clippy::panic, reason = "a test that cannot go on says why and stops")]

use std::collections::HashMap;
use std::io::BufRead as _;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex as AsyncMutex, mpsc};

use crate::stack::{PATIENCE, Stack};

/// A running function. It ends with this.
#[derive(Debug)]
pub struct Function {
    child: Child,
    events: mpsc::Sender<Event>,
    outcomes: mpsc::Receiver<Result<Value, Value>>,
    printed: Arc<Mutex<Vec<String>>>,
}

#[derive(Debug)]
struct Event {
    payload: String,
    deadline_ms: u128,
}

impl Drop for Function {
    fn drop(&mut self) {
        // one that has ended already is what is wanted
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Function {
    /// Starts the deployed binary of `name` with the deployed environment, changed by `changes`.
    pub async fn start(stack: &Stack, name: &str, changes: &[(&str, &str)]) -> Function {
        let deployed = stack
            .aws
            .lambda()
            .get_function_configuration()
            .function_name(stack.value(&format!("FN_{}", name.to_uppercase())))
            .send()
            .await
            .unwrap_or_else(|error| panic!("GetFunctionConfiguration {name}: {error:?}"));
        let mut variables: HashMap<String, String> =
            deployed.environment.and_then(|environment| environment.variables).unwrap_or_default();
        for name in ["AWS_ENDPOINT_URL", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
            variables.insert(name.to_owned(), stack.value(name).to_owned());
        }
        variables.extend(changes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap_or_else(|error| panic!("bind: {error}"));
        let address = listener.local_addr().unwrap_or_else(|error| panic!("bind: {error}"));
        let (events, given) = mpsc::channel(1);
        let (tell, outcomes) = mpsc::channel(1);
        tokio::spawn(serve(listener, Arc::new(AsyncMutex::new(given)), tell));

        let binary = format!("{}/{name}/bootstrap", stack.value("BINARIES"));
        let mut child = Command::new(&binary)
            .env_clear()
            .envs(variables)
            .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", name)
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", "none")
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "none")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{binary}: {error}"));
        let printed = Arc::new(Mutex::new(Vec::new()));
        if let Some(stdout) = child.stdout.take() {
            let lines = Arc::clone(&printed);
            std::thread::spawn(move || {
                for line in std::io::BufReader::new(stdout).lines().map_while(Result::ok) {
                    lines.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(line);
                }
            });
        }
        Function { child, events, outcomes, printed }
    }

    /// One invocation, which may take so long: its answer, or its error.
    pub async fn invoke(&mut self, payload: &Value, budget: Duration) -> Result<Value, Value> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let event = Event { payload: payload.to_string(), deadline_ms: (now + budget).as_millis() };
        if self.events.send(event).await.is_err() {
            panic!("the runtime is gone");
        }
        let patience = PATIENCE + budget;
        match tokio::time::timeout(patience, self.outcomes.recv()).await {
            Ok(Some(outcome)) => outcome,
            Ok(None) | Err(_) => panic!("no answer: {:?}", self.child.try_wait()),
        }
    }

    /// Every line on its standard output so far.
    #[must_use]
    pub fn printed(&self) -> Vec<String> {
        self.printed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

type Given = Arc<AsyncMutex<mpsc::Receiver<Event>>>;

async fn serve(listener: TcpListener, given: Given, tell: mpsc::Sender<Result<Value, Value>>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(converse(stream, Arc::clone(&given), tell.clone()));
    }
}

/// Requests of one connection, until either side has enough.
async fn converse(stream: TcpStream, given: Given, tell: mpsc::Sender<Result<Value, Value>>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (path, body) = read_request(&mut stream).await?;
        let (head, answer) = if path.ends_with("/invocation/next") {
            let event = given.lock().await.recv().await?;
            let head = format!(
                "200 OK\r\nLambda-Runtime-Aws-Request-Id: 8476a536-e9f4-11e8-9739-2dfe598c3fcd\r\n\
                 Lambda-Runtime-Deadline-Ms: {}\r\n\
                 Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:us-east-1:000000000000:function:own",
                event.deadline_ms
            );
            (head, event.payload)
        } else {
            let said = serde_json::from_slice(&body).unwrap_or(Value::Null);
            let outcome = if path.ends_with("/response") { Ok(said) } else { Err(said) };
            tell.send(outcome).await.ok()?;
            ("202 Accepted".to_owned(), "{}".to_owned())
        };
        let answer = format!(
            "HTTP/1.1 {head}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{answer}",
            answer.len()
        );
        stream.write_all(answer.as_bytes()).await.ok()?;
    }
}

/// The path and the body of a request; `None` at the end of the connection.
async fn read_request(stream: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let (mut length, mut chunked) = (0, false);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        let line = line.trim_end().to_ascii_lowercase();
        match line.split_once(':') {
            None => break,
            Some(("content-length", value)) => length = value.trim().parse().ok()?,
            Some(("transfer-encoding", value)) => chunked = value.trim() == "chunked",
            Some(_) => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    while chunked {
        let mut size = String::new();
        stream.read_line(&mut size).await.ok()?;
        let size = usize::from_str_radix(size.trim().split(';').next()?, 16).ok()?;
        let mut chunk = vec![0; size + 2];
        stream.read_exact(&mut chunk).await.ok()?;
        body.extend_from_slice(chunk.get(..size)?);
        chunked = size > 0;
    }
    Some((path, body))
}
