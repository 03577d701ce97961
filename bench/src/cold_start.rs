//! Cold start of each function: from exec to its first request for an invocation, at a Runtime API on
//! loopback, beside a function that does nothing. And the size of each program in a zip.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::DeflateEncoder;

use crate::race::{Failure, median};
use crate::report::{Report, Row, Table};

const EMPTY: &str = "logferry-bench-empty";
const FUNCTIONS: [&str; 7] = ["presign", "ingest", "flush", "api", "rpc", "health", "sweep"];
/// How long the first start of a program may take, which also reads it from the disk.
const FIRST_START: Duration = Duration::from_secs(10);
/// Largest request that is read (bytes). That for an invocation is far smaller.
const REQUEST_BYTES: usize = 4096;

/// What Lambda and the template set. All functions get all of it.
const ENVIRONMENT: [(&str, &str); 29] = [
    ("AWS_LAMBDA_FUNCTION_NAME", "bench"),
    ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
    ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
    ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/bench"),
    ("AWS_LAMBDA_LOG_STREAM_NAME", "bench"),
    ("AWS_REGION", "eu-west-1"),
    ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
    ("AWS_SECRET_ACCESS_KEY", "secret"),
    ("AWS_SESSION_TOKEN", "token"),
    ("METRICS_NAMESPACE", "Logferry/bench"),
    ("TABLE_APPS", "apps"),
    ("TABLE_CHECKS", "checks"),
    ("TABLE_FILES", "files"),
    ("TABLE_LOGS", "logs"),
    ("TABLE_STATS", "stats"),
    ("TABLE_UPLOADS", "uploads"),
    ("BUCKET", "bench"),
    ("FAILURE_BUCKET", "bench-failures"),
    ("ACCOUNT_ID", "123456789012"),
    ("ADMIN_KEY_SECRET", "admin"),
    ("TOKEN_SECRET", "token"),
    ("ALERT_FUNCTION", "health"),
    ("INGEST_FUNCTION", "ingest"),
    ("ALERT_TOPIC_ARN", "arn:aws:sns:eu-west-1:123456789012:alerts"),
    ("HEALTH_TOPIC_ARN", "arn:aws:sns:eu-west-1:123456789012:health"),
    ("LOG_GROUP_PREFIX", "/logferry"),
    ("RETENTION_DAYS_DEFAULT", "30"),
    ("HEALTH_SCHEDULE_MINUTES", "5"),
    ("SWEEP_SCHEDULE_MINUTES", "5"),
];

/// The programs beside this one.
fn program(name: &str) -> Result<PathBuf, Failure> {
    let path = std::env::current_exe()?.with_file_name(name);
    match path.exists() {
        true => Ok(path),
        false => Err(format!("{} is missing: run `make bench`, which builds it", path.display()).into()),
    }
}

/// A Runtime API that never has an invocation.
struct RuntimeApi {
    listener: TcpListener,
    address: String,
}

impl RuntimeApi {
    fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        Ok(Self { listener, address })
    }

    fn spawn(&self, program: &Path) -> io::Result<Child> {
        let mut command = Command::new(program);
        command.env_clear().envs(ENVIRONMENT).env("AWS_LAMBDA_RUNTIME_API", &self.address);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
    }

    /// Waits until a program asks for its first invocation. Returns the time since its start (ms).
    fn start_ms(&self, program: &Path) -> Result<f64, Failure> {
        let started = Instant::now();
        let mut child = self.spawn(program)?;
        let (mut stream, _) = self.listener.accept()?;
        let asked = asks_for_invocation(&mut stream);
        let took = started.elapsed();
        child.kill()?;
        child.wait()?;
        match asked? {
            true => Ok(took.as_secs_f64() * 1e3),
            false => Err(format!("{} asks for something else", program.display()).into()),
        }
    }

    /// Starts a program once, with a limit of time, so that the measured starts need none.
    fn try_out(&self, program: &Path) -> Result<(), Failure> {
        self.listener.set_nonblocking(true)?;
        let mut child = self.spawn(program)?;
        let until = Instant::now() + FIRST_START;
        let connected = loop {
            match self.listener.accept() {
                Ok(_) => break Ok(()),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => break Err(error.into()),
                Err(_) if child.try_wait()?.is_some() || Instant::now() > until => {
                    let text = format!("{} does not start: a variable is missing here?", program.display());
                    break Err(Failure::from(text));
                }
                Err(_) => sleep(Duration::from_millis(1)),
            }
        };
        // It may have ended by itself.
        let _ = child.kill();
        child.wait()?;
        self.listener.set_nonblocking(false)?;
        connected
    }
}

fn asks_for_invocation(stream: &mut TcpStream) -> io::Result<bool> {
    let mut request = Vec::new();
    let mut part = [0; REQUEST_BYTES];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < REQUEST_BYTES {
        match stream.read(&mut part)? {
            0 => break,
            count => request.extend_from_slice(&part[..count]),
        }
    }
    Ok(request.starts_with(b"GET /2018-06-01/runtime/invocation/next"))
}

/// Returns the size of a program in a zip (bytes).
fn zipped(program: &Path) -> io::Result<(u64, u64)> {
    let bytes = std::fs::read(program)?;
    let mut deflate = DeflateEncoder::new(Vec::new(), Compression::new(6));
    deflate.write_all(&bytes)?;
    Ok((bytes.len() as u64, deflate.finish()?.len() as u64))
}

/// Measures all functions in interleaved rounds.
pub(crate) fn cold_starts(report: &mut Report, rounds: u32) -> Result<(), Failure> {
    let api = RuntimeApi::start()?;
    let programs: Vec<(&str, PathBuf)> = [EMPTY]
        .into_iter()
        .chain(FUNCTIONS)
        .map(|name| Ok((name, program(name)?)))
        .collect::<Result<_, Failure>>()?;
    for (_, program) in &programs {
        api.try_out(program)?;
    }
    let mut starts: Vec<Vec<f64>> = programs.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for ((_, program), starts) in programs.iter().zip(&mut starts) {
            starts.push(api.start_ms(program)?);
        }
    }
    let fastest: Vec<f64> =
        starts.iter().map(|starts| starts.iter().copied().fold(f64::MAX, f64::min)).collect();
    let medians: Vec<f64> = starts.into_iter().map(median).collect();
    let mut rows = Vec::new();
    for (((name, program), ms), least) in programs.iter().zip(&medians).zip(&fastest) {
        let (bytes, zipped) = zipped(program)?;
        let name = if *name == EMPTY { "empty function" } else { name };
        rows.push(Row::new(
            name,
            [*ms, ms / medians[0], *least, least / fastest[0], bytes as f64 / 1e6, zipped as f64 / 1e6],
        ));
    }
    report.add(Table {
        id: "cold-start",
        title: format!("Cold start: exec to the first request for an invocation, median of {rounds}"),
        columns: vec![
            "ms",
            "times the empty one",
            "fastest, ms",
            "times the empty one, fastest",
            "MB",
            "MB zipped",
        ],
        rows,
    })?;
    Ok(())
}
