//! HTTP/1.1 as far as clients on loopback need it: a response can only be cut off in its middle if its
//! bytes are written directly.

use std::io;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

pub type Connection = BufReader<TcpStream>;

#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

#[derive(Debug, Clone, Default)]
pub struct Response {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

async fn line(from: &mut Connection) -> io::Result<String> {
    let mut line = String::new();
    from.read_line(&mut line).await?;
    Ok(line.trim_end().to_owned())
}

/// Reads the next request; `None` at the end.
pub async fn read(from: &mut Connection) -> io::Result<Option<Request>> {
    let first = line(from).await?;
    if first.is_empty() {
        return Ok(None);
    }
    let mut words = first.split(' ');
    let mut word = || words.next().map(str::to_owned).ok_or_else(|| bad("request line"));
    let (method, target) = (word()?, word()?);
    let mut headers = HeaderMap::new();
    loop {
        let line = line(from).await?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or_else(|| bad("header"))?;
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad("name"))?,
            HeaderValue::from_str(value.trim()).map_err(|_| bad("value"))?,
        );
    }
    // No client here sends chunks.
    if headers.contains_key("transfer-encoding") {
        return Err(bad("transfer encoding"));
    }
    let length = headers.get("content-length").and_then(|value| value.to_str().ok()?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    from.read_exact(&mut body).await?;
    Ok(Some(Request { method, target, headers, body: body.into() }))
}

/// Writes a response, but only the first `most` bytes of its body, whatever its length header says.
pub async fn write(to: &mut Connection, answer: &Response, most: usize) -> io::Result<()> {
    let mut bytes = format!("HTTP/1.1 {} Answer\r\n", answer.status).into_bytes();
    for (name, value) in &answer.headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            bytes.extend_from_slice(part);
        }
    }
    if !answer.headers.contains_key("content-length") {
        bytes.extend_from_slice(format!("content-length: {}\r\n", answer.body.len()).as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(&answer.body[..answer.body.len().min(most)]);
    to.write_all(&bytes).await?;
    to.flush().await
}
