//! One probe: resolve, check every address, connect to a checked one, send the request, read only what is
//! needed. Follows no redirect, uses no proxy, resolves nothing twice; see the guard's threat model.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use logferry_health_checks::check::Probe;
use logferry_health_checks::condition::Condition;
use logferry_health_checks::condition::facts::Facts;
use logferry_health_checks::guard::Policy;
use logferry_health_checks::guard::resolve::{Resolver, checked_addresses};
use logferry_health_checks::guard::target::TargetHost;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;

use crate::body;

/// Maximum bytes of a body that conditions see. The rest is not read.
pub const MAX_BODY_BYTES: usize = 256 * 1024;
/// Maximum bytes of a response's head.
const MAX_HEAD_BYTES: usize = 32 * 1024;
/// Maximum headers of a response.
const MAX_HEADERS: usize = 100;
/// Maximum number of addresses of a name that are tried.
const MAX_ADDRESSES_TRIED: usize = 3;
/// Maximum characters of a `Location` that are kept.
const MAX_LOCATION_CHARS: usize = 500;
const USER_AGENT: &str = concat!("logferry-health/", env!("CARGO_PKG_VERSION"));

/// A connection over any transport.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Opens connections. A port, so that tests can count connections.
pub trait Dial: Send + Sync + fmt::Debug {
    fn dial(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Stream>>>;
}

/// Plain TCP.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tcp;

impl Dial for Tcp {
    fn dial(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
        Box::pin(async move { Ok(Box::new(TcpStream::connect(address).await?) as Box<dyn Stream>) })
    }
}

/// Evaluates bodies on a separate thread, one at a time, in order of arrival. So the cost of a tenant's
/// conditions does not affect time-outs or latencies of others.
#[derive(Debug, Clone)]
pub struct Judge(Arc<Semaphore>);

impl Default for Judge {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

/// Everything that probes need besides the check.
#[derive(Debug, Clone)]
pub struct Prober {
    pub resolver: Arc<dyn Resolver>,
    pub dial: Arc<dyn Dial>,
    pub tls: Arc<rustls::ClientConfig>,
    pub policy: Policy,
    pub judge: Judge,
}

/// The result of a probe.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Finding {
    /// 0 without a response.
    pub status: u16,
    /// Of the answered request, from its start until its head arrived.
    pub latency_ms: u32,
    pub error: Option<String>,
    pub failed_conditions: Vec<String>,
    pub redirect_to: Option<String>,
    pub certificate_expires_ms: Option<i64>,
    pub ok: bool,
}

/// Returns TLS for the public web: Mozilla's roots, built in.
///
/// # Errors
/// The crypto provider supports no protocol version; fails at start-up.
pub fn public_tls() -> Result<Arc<rustls::ClientConfig>, rustls::Error> {
    let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    tls_trusting(roots)
}

/// Returns TLS that trusts these roots.
///
/// # Errors
/// The crypto provider supports no protocol version; fails at start-up.
pub fn tls_trusting(roots: rustls::RootCertStore) -> Result<Arc<rustls::ClientConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

impl Prober {
    /// Probes and evaluates; never fails, because a failure is a finding. Takes at most the check's
    /// time-out.
    pub async fn probe(&self, probe: &Probe, now_ms: i64) -> Finding {
        let steps = Steps::default();
        let started = Instant::now();
        let until = started + Duration::from_millis(probe.timeout_ms);
        let answer = match tokio::time::timeout_at(until, self.ask(probe, until, &steps)).await {
            Ok(answer) => answer,
            Err(_) => {
                Err(format!("time-out: no answer within {} ms, while {}", probe.timeout_ms, steps.current()))
            }
        };
        let connected = steps.reached(Step::Sending);
        let (answer, error) = match answer {
            Ok(answer) => (answer, None),
            Err(error) => {
                let nothing = || Answer { latency: started.elapsed(), ..Answer::default() };
                (steps.answered().unwrap_or_else(nothing), Some(error))
            }
        };
        if answer.body.is_empty() {
            return judge(&probe.conditions, answer, error, connected, now_ms);
        }
        let conditions = probe.conditions.clone();
        let unjudged = Finding {
            status: answer.status,
            error: Some("the conditions could not be judged".to_owned()),
            certificate_expires_ms: answer.certificate_expires_ms,
            ..Finding::default()
        };
        // Held until the thread ends, even if its result is no longer awaited.
        let Ok(turn) = Arc::clone(&self.judge.0).acquire_owned().await else { return unjudged };
        let judged = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            judge(&conditions, answer, error, connected, now_ms)
        });
        judged.await.unwrap_or(unjudged)
    }

    /// Sends HEAD, then GET if HEAD is answered with an error, as servers do that only know GET; or the method of
    /// the check.
    async fn ask(&self, probe: &Probe, until: Instant, steps: &Steps) -> Result<Answer, String> {
        steps.enter(Step::Resolving);
        let addresses = checked_addresses(&probe.target, self.resolver.as_ref(), &self.policy)
            .await
            .map_err(|error| error.to_string())?;
        let reads_body = probe.conditions.iter().any(Condition::needs_body);
        match probe.method.as_deref() {
            Some(method) => {
                let method = Method::from_bytes(method.as_bytes())
                    .map_err(|_| format!("http: {method} is not a method"))?;
                self.request(probe, &addresses, method, reads_body, until, steps).await
            }
            None if reads_body => self.request(probe, &addresses, Method::GET, true, until, steps).await,
            None => {
                let answer = self.request(probe, &addresses, Method::HEAD, false, until, steps).await?;
                if answer.status >= 400 {
                    return self.request(probe, &addresses, Method::GET, false, until, steps).await;
                }
                Ok(answer)
            }
        }
    }

    async fn request(
        &self,
        probe: &Probe,
        addresses: &[SocketAddr],
        method: Method,
        reads_body: bool,
        until: Instant,
        steps: &Steps,
    ) -> Result<Answer, String> {
        let started = Instant::now();
        steps.enter(Step::Connecting);
        let tcp = self.connect(addresses, until).await?;
        let request = build(probe, method)?;
        let (head, body, certificate_expires_ms) = if probe.target.is_tls() {
            steps.enter(Step::Handshaking);
            let name = server_name(probe.target.host())?;
            let stream = tokio_rustls::TlsConnector::from(Arc::clone(&self.tls))
                .connect(name, tcp)
                .await
                .map_err(|error| tls_error(&error))?;
            let expires = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).and_then(expires_ms);
            let (head, body) = exchange(TokioIo::new(stream), request, steps).await?;
            (head, body, expires)
        } else {
            let (head, body) = exchange(TokioIo::new(tcp), request, steps).await?;
            (head, body, None)
        };
        let latency = body.head_arrived.duration_since(started);
        let location = head.headers.get(header::LOCATION).filter(|_| head.status.is_redirection());
        let redirect_to = location.map(|location| {
            String::from_utf8_lossy(location.as_bytes()).chars().take(MAX_LOCATION_CHARS).collect()
        });
        let answer = Answer {
            status: head.status.as_u16(),
            latency,
            redirect_to,
            certificate_expires_ms,
            body: String::new(),
        };
        if !reads_body {
            return Ok(answer);
        }
        steps.reading_body_of(&answer);
        let encoding = head.headers.get(header::CONTENT_ENCODING).and_then(|value| value.to_str().ok());
        Ok(Answer { body: body::text(read_body(body).await?, encoding, MAX_BODY_BYTES), ..answer })
    }

    /// Connects to the first address that accepts. All of them were checked. One that does not answer leaves
    /// the next ones their share of the time.
    async fn connect(&self, addresses: &[SocketAddr], until: Instant) -> Result<Box<dyn Stream>, String> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        let mut addresses = addresses.iter().take(MAX_ADDRESSES_TRIED);
        while let Some(address) = addresses.next() {
            let dial = self.dial.dial(*address);
            let next = u32::try_from(addresses.len()).unwrap_or_default();
            let dialled = if next == 0 {
                dial.await
            } else {
                let share = until.saturating_duration_since(Instant::now()) / (next + 1);
                tokio::time::timeout(share, dial)
                    .await
                    .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            };
            match dialled {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(connect_error(&last))
    }
}

/// A response before its conditions are evaluated.
#[derive(Debug, Clone, Default)]
struct Answer {
    status: u16,
    latency: Duration,
    redirect_to: Option<String>,
    certificate_expires_ms: Option<i64>,
    body: String,
}

/// Without conditions, any status from 200 to 399 is good. With conditions, only they decide. An error is
/// never good.
fn judge(
    conditions: &[Condition],
    answer: Answer,
    error: Option<String>,
    connected: bool,
    now_ms: i64,
) -> Finding {
    let latency_ms = u32::try_from(answer.latency.as_millis()).unwrap_or(u32::MAX);
    let expires_in_ms = answer.certificate_expires_ms.map_or(0, |expires| expires.saturating_sub(now_ms));
    let facts = Facts::new(answer.status, latency_ms.into(), connected, expires_in_ms, answer.body);
    let failed_conditions: Vec<String> =
        conditions.iter().filter_map(|condition| condition.evaluate(&facts).err()).collect();
    let good_status = !conditions.is_empty() || (200..400).contains(&answer.status);
    Finding {
        status: answer.status,
        latency_ms,
        ok: error.is_none() && failed_conditions.is_empty() && good_status,
        error,
        failed_conditions,
        redirect_to: answer.redirect_to,
        certificate_expires_ms: answer.certificate_expires_ms,
    }
}

fn build(probe: &Probe, method: Method) -> Result<Request<Full<Bytes>>, String> {
    let body = probe.body.clone().unwrap_or_default();
    let mut request = Request::builder()
        .method(method)
        .uri(probe.target.path_and_query())
        .header(header::HOST, probe.target.host_header())
        .header(header::CONNECTION, "close");
    let given = |name: &str| probe.headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name));
    if !given("user-agent") {
        request = request.header(header::USER_AGENT, USER_AGENT);
    }
    if !given("accept") {
        request = request.header(header::ACCEPT, "*/*");
    }
    if !given("accept-encoding") {
        request = request.header(header::ACCEPT_ENCODING, body::ACCEPT_ENCODING);
    }
    for (name, value) in &probe.headers {
        request = request.header(name, value);
    }
    request
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| format!("http: the request cannot be built: {error}"))
}

fn server_name(host: &TargetHost) -> Result<ServerName<'static>, String> {
    match host {
        TargetHost::Address(address) => Ok(ServerName::from(*address)),
        TargetHost::Name(name) => ServerName::try_from(name.trim_end_matches('.').to_owned())
            .map_err(|_| format!("tls: {name} cannot be the name of a certificate")),
    }
}

/// Ends the connection's task with the probe, also if a time-out drops the probe.
struct Driver(tokio::task::JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A body and its connection.
struct Body {
    incoming: Incoming,
    head_arrived: Instant,
    _driver: Driver,
}

async fn exchange<S>(
    stream: TokioIo<S>,
    request: Request<Full<Bytes>>,
    steps: &Steps,
) -> Result<(http::response::Parts, Body), String>
where
    S: Stream + 'static,
{
    let mut builder = hyper::client::conn::http1::Builder::new();
    builder.max_buf_size(MAX_HEAD_BYTES).max_headers(MAX_HEADERS);
    steps.enter(Step::Sending);
    let (mut sender, connection) = builder.handshake(stream).await.map_err(|error| http_error(&error))?;
    steps.enter(Step::Waiting);
    let (result, answered) = oneshot::channel();
    let driver = Driver(tokio::spawn(async move {
        // The time is taken here: the awaiting task has other probes to poll.
        let answer = async {
            let answer = sender.send_request(request).await;
            let _ = result.send((answer, Instant::now()));
        };
        // Connection errors are returned to the caller that awaits the response.
        let _ = tokio::join!(answer, connection);
    }));
    let Ok((answer, head_arrived)) = answered.await else {
        return Err("http: the connection was closed before the answer ended".to_owned());
    };
    let (head, incoming) = answer.map_err(|error| http_error(&error))?.into_parts();
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err("http: the answer asks for another protocol".to_owned());
    }
    Ok((head, Body { incoming, head_arrived, _driver: driver }))
}

async fn read_body(mut body: Body) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    while bytes.len() < MAX_BODY_BYTES {
        match body.incoming.frame().await {
            None => break,
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    let room = MAX_BODY_BYTES - bytes.len();
                    bytes.extend_from_slice(data.get(..room).unwrap_or(data));
                }
            }
            Some(Err(error)) => return Err(http_error(&error)),
        }
    }
    Ok(bytes)
}

/// Returns when the certificate expires (ms since the epoch).
fn expires_ms(certificate: &CertificateDer<'_>) -> Option<i64> {
    use x509_cert::der::Decode as _;
    let certificate = x509_cert::Certificate::from_der(certificate).ok()?;
    i64::try_from(certificate.tbs_certificate.validity.not_after.to_unix_duration().as_millis()).ok()
}

fn connect_error(error: &io::Error) -> String {
    format!("connect: {}", io_words(error))
}

fn io_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        io::ErrorKind::TimedOut => "timed out".to_owned(),
        io::ErrorKind::HostUnreachable => "host unreachable".to_owned(),
        io::ErrorKind::NetworkUnreachable => "network unreachable".to_owned(),
        io::ErrorKind::UnexpectedEof => "the connection was closed".to_owned(),
        kind => kind.to_string(),
    }
}

fn tls_error(error: &io::Error) -> String {
    use rustls::CertificateError as Bad;
    let Some(tls) = error.get_ref().and_then(|source| source.downcast_ref::<rustls::Error>()) else {
        return format!("tls: {}", io_words(error));
    };
    match tls {
        rustls::Error::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. }) => {
            "tls: the certificate has expired".to_owned()
        }
        rustls::Error::InvalidCertificate(Bad::NotValidYet | Bad::NotValidYetContext { .. }) => {
            "tls: the certificate is not valid yet".to_owned()
        }
        rustls::Error::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => {
            "tls: the certificate is for another name".to_owned()
        }
        rustls::Error::InvalidCertificate(Bad::UnknownIssuer) => {
            "tls: the certificate's issuer is not trusted".to_owned()
        }
        rustls::Error::InvalidMessage(_) => "tls: the answer is not TLS".to_owned(),
        other => format!("tls: {other}"),
    }
}

fn http_error(error: &hyper::Error) -> String {
    let io = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    if error.is_parse() && error.to_string().contains("too large") {
        format!("http: the answer's head is longer than {MAX_HEAD_BYTES} bytes or {MAX_HEADERS} headers")
    } else if error.is_parse() {
        "http: the answer is not HTTP/1.1".to_owned()
    } else if error.is_incomplete_message() || io.is_some_and(|io| io.kind() == io::ErrorKind::UnexpectedEof)
    {
        "http: the connection was closed before the answer ended".to_owned()
    } else {
        match io {
            Some(io) => format!("http: {}", io_words(io)),
            None => format!("http: {error}"),
        }
    }
}

/// The progress of a probe, for the text of a time-out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Resolving,
    Connecting,
    Handshaking,
    Sending,
    Waiting,
    ReadingBody,
}

#[derive(Debug, Default)]
struct Steps {
    current: AtomicU8,
    furthest: AtomicU8,
    /// A response without its body. If reading the body fails, status and headers are still known.
    answered: OnceLock<Answer>,
}

impl Steps {
    fn enter(&self, step: Step) {
        self.current.store(step as u8, Ordering::Relaxed);
        self.furthest.fetch_max(step as u8, Ordering::Relaxed);
    }

    fn reading_body_of(&self, answer: &Answer) {
        self.enter(Step::ReadingBody);
        self.answered.get_or_init(|| answer.clone());
    }

    fn answered(&self) -> Option<Answer> {
        self.answered.get().cloned()
    }

    fn reached(&self, step: Step) -> bool {
        self.furthest.load(Ordering::Relaxed) >= step as u8
    }

    fn current(&self) -> &'static str {
        match self.current.load(Ordering::Relaxed) {
            0 => "resolving its name",
            1 => "connecting",
            2 => "agreeing on TLS",
            3 => "sending the request",
            4 => "waiting for the answer",
            _ => "reading the body",
        }
    }
}
