//! The routes that the client calls, and the bucket. Parts have eight bytes here.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use logferry_upload_client::{Client, Credential};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(crate) const PART_SIZE: u64 = 8;

/// A fault injected instead of a response.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Trouble {
    /// Refuses the request with this status.
    Status(u16),
    /// Processes the request and closes the connection.
    LoseAnswer,
    /// Never reads the request to its end.
    Hang,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) parts: BTreeMap<u32, Vec<u8>>,
    pub(crate) object: Option<Vec<u8>>,
    /// Number of sessions; the last one is open.
    pub(crate) sessions: u32,
    pub(crate) ended: bool,
    /// Log files by key.
    pub(crate) logs: BTreeMap<String, Vec<u8>>,
    /// Every request, as `METHOD path`.
    pub(crate) asked: Vec<String>,
    /// Faults for the next request whose `METHOD path` has this prefix.
    pub(crate) troubles: Vec<(&'static str, Trouble)>,
}

#[derive(Debug, Clone)]
pub(crate) struct Service {
    pub(crate) base: String,
    pub(crate) state: Arc<Mutex<State>>,
}

struct Request {
    line: String,
    head: String,
    body: Vec<u8>,
}

impl Service {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let service = Self { base, state: Arc::default() };
        let serving = service.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let service = serving.clone();
                tokio::spawn(async move { service.answer(socket).await });
            }
        });
        service
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&format!("{}/", self.base), Credential::ApiKey("k".to_owned())).unwrap()
    }

    pub(crate) fn trouble(&self, request: &'static str, trouble: Trouble) {
        self.state.lock().unwrap().troubles.push((request, trouble));
    }

    /// Returns the number of requests with this prefix.
    pub(crate) fn asked(&self, request: &str) -> usize {
        self.state.lock().unwrap().asked.iter().filter(|line| line.starts_with(request)).count()
    }

    fn trouble_for(&self, line: &str) -> Option<Trouble> {
        let mut state = self.state.lock().unwrap();
        state.asked.push(line.to_owned());
        let at = state.troubles.iter().position(|(request, _)| line.starts_with(request))?;
        Some(state.troubles.remove(at).1)
    }

    /// One request per connection.
    async fn answer(&self, mut socket: TcpStream) {
        let Some((line, head, rest)) = read_head(&mut socket).await else { return };
        let trouble = self.trouble_for(&line);
        if trouble == Some(Trouble::Hang) {
            return std::future::pending().await;
        }
        let Some(body) = read_body(&mut socket, &head, rest).await else { return };
        let (status, body) = match trouble {
            Some(Trouble::Status(status)) => (status, json!({"error": "s3: in trouble"}).to_string()),
            _ => self.carry_out(&Request { line, head, body }),
        };
        if trouble == Some(Trouble::LoseAnswer) {
            return;
        }
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status} x\r\netag: \"e\"\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        let _ = socket.write_all(answer.as_bytes()).await;
        let _ = socket.shutdown().await;
    }

    fn carry_out(&self, request: &Request) -> (u16, String) {
        let mut state = self.state.lock().unwrap();
        let (method, path) = request.line.split_once(' ').unwrap();
        let segments: Vec<_> = path.split('?').next().unwrap().split('/').skip(1).collect();
        let gone = (404, json!({"error": "s3: no such upload"}).to_string());
        let current = |state: &State, id: &str| !state.ended && id == format!("u{}", state.sessions);
        match (method, segments.as_slice()) {
            ("POST", ["s3", "multipart"]) => {
                state.sessions += 1;
                (state.parts, state.ended) = (BTreeMap::new(), false);
                let upload_id = format!("u{}", state.sessions);
                let created =
                    json!({"key": "k", "uploadId": upload_id, "bucket": "b", "partSize": PART_SIZE});
                (200, created.to_string())
            }
            ("GET", ["s3", "multipart", id]) if current(&state, id) && state.object.is_none() => {
                let part = |(n, bytes): (&u32, &Vec<u8>)| json!({"PartNumber": n, "ETag": format!("\"{n}\""), "Size": bytes.len()});
                (200, state.parts.iter().map(part).collect::<Value>().to_string())
            }
            ("GET", ["s3", "multipart", id, number]) if current(&state, id) => {
                (200, json!({"url": format!("{}/part/{number}", self.base), "expires": 900}).to_string())
            }
            ("PUT", ["part", number]) => {
                state.parts.insert(number.parse().unwrap(), request.body.clone());
                (200, String::new())
            }
            ("POST", ["s3", "multipart", id, "complete"]) if current(&state, id) => {
                let whole = state.parts.values().flatten().copied().collect();
                state.object.get_or_insert(whole);
                (200, json!({"location": "http://there/k", "key": "k", "bucket": "b"}).to_string())
            }
            ("DELETE", ["s3", "multipart", id]) if current(&state, id) => {
                state.ended = true;
                (200, "{}".to_owned())
            }
            ("POST", ["presigned-url"]) => {
                let body: Value = serde_json::from_slice(&request.body).unwrap();
                let key = format!("log{}-{}", state.asked.len(), body["filename"].as_str().unwrap());
                let url = format!("{}/log/{key}", self.base);
                let headers = json!({"Content-Type": "application/gzip"});
                (200, json!({"presignedUrl": url, "key": key, "headers": headers}).to_string())
            }
            ("PUT", ["log", key]) => {
                assert!(request.head.contains("if-none-match: *"), "{}", request.head);
                if state.logs.contains_key(*key) {
                    return (412, "<Error><Code>PreconditionFailed</Code></Error>".to_owned());
                }
                state.logs.insert((*key).to_owned(), request.body.clone());
                (200, String::new())
            }
            _ => gone,
        }
    }
}

async fn read_head(socket: &mut TcpStream) -> Option<(String, String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let line = String::from_utf8_lossy(&bytes).lines().next()?.rsplit_once(' ')?.0.to_owned();
            return Some((line, head, bytes.split_off(end + 4)));
        }
        if socket.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return None;
        }
    }
}

/// `None` if the body was cut off.
async fn read_body(socket: &mut TcpStream, head: &str, mut body: Vec<u8>) -> Option<Vec<u8>> {
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length = length.map_or(0, |length| length.parse().unwrap());
    while body.len() < length {
        if socket.read_buf(&mut body).await.unwrap_or(0) == 0 {
            return None;
        }
    }
    Some(body)
}

/// A temporary folder, removed at the end of the test.
#[derive(Debug)]
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("logferry-client-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.0.join("state")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
