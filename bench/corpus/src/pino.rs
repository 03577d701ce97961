//! Entries like those of a Node service that logs with pino and pino-http: about 534 bytes each, gzip about
//! 5.85:1. The same number of records always gives the same bytes.

use std::fmt::Write as _;
use std::io::{self, Write};

/// 2025-04-01T00:00:00Z
const START_MS: u64 = 1_743_465_600_000;
/// Time between two entries (ms): 200,000 of them cover a bit more than a day.
const STEP_MS: u64 = 480;

const ROUTES: [&str; 8] = [
    "/v1/documents",
    "/v1/documents/search",
    "/v1/users/me",
    "/v1/projects",
    "/health",
    "/v1/meetings",
    "/v1/attachments/upload",
    "/v1/notifications",
];
const CONTEXTS: [&str; 5] =
    ["ApiController", "DocumentsService", "AuthGuard", "CacheInterceptor", "MeetingsController"];
/// Number of recurring clients, each with its own address and agent.
const CLIENTS: u64 = 400;

/// A small, fast random number generator with a fixed sequence.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 11) % end
    }

    fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len() as u64) as usize]
    }
}

/// Writes this many entries, one per line.
///
/// # Errors
/// Those of the writer.
pub fn write(records: u64, out: &mut impl Write) -> io::Result<()> {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let mut line = String::new();
    let mut time = START_MS;
    for i in 0..records {
        line.clear();
        time += numbers.below(STEP_MS * 2);
        entry(&mut line, i, time, &mut numbers);
        line.push('\n');
        out.write_all(line.as_bytes())?;
    }
    Ok(())
}

fn entry(line: &mut String, i: u64, time: u64, numbers: &mut Numbers) {
    let level = [20, 30, 30, 30, 30, 30, 30, 40, 50][numbers.below(9) as usize];
    let pid = 40 + numbers.below(4);
    let host = numbers.below(6);
    let method = numbers.of(&["GET", "GET", "GET", "POST", "PUT", "DELETE"]);
    let (route, id) = (numbers.of(&ROUTES), numbers.next());
    let (trace, span, parent) = (numbers.next(), numbers.next(), numbers.next());
    let (page, port) = (numbers.below(40), 1024 + numbers.below(64_000));
    let client = numbers.below(CLIENTS);
    let mut own = Numbers((client + 1).wrapping_mul(0x2545_f491_4f6c_dd1d));
    let (a, b, c, d) = (own.below(223) + 1, own.below(256), own.below(256), own.below(256));
    let (chrome, build, user) = (100 + own.below(36), own.below(7000), own.below(5000));
    let context = numbers.of(&CONTEXTS);
    let took = numbers.below(900);
    let cache_hit = numbers.below(3) > 0;
    let documents = numbers.below(50);
    // Writing to a String cannot fail.
    let _ = write!(
        line,
        "{{\"level\":{level},\"time\":{time},\"pid\":{pid},\"hostname\":\"api-{host}\",\
         \"req\":{{\"id\":{i},\"method\":\"{method}\",\"url\":\"{route}?page={page}\",\"query\":{{}},\
         \"headers\":{{\"x-forwarded-for\":\"{a}.{b}.{c}.{d}\",\"x-request-id\":\"{id:016x}{trace:016x}{span:016x}{parent:016x}\",\"host\":\"api.example.com\",\
         \"user-agent\":\"Mozilla/5.0 (Windows) Chrome/{chrome}.0.{build}\"}},\
         \"remoteAddress\":\"::ffff:10.0.{b}.{c}\",\"remotePort\":{port}}},\"context\":\"{context}\",\
         \"authUserId\":{user},\"processingTimeMs\":{took},\"cacheHit\":{cache_hit},\"documentCount\":{documents},\
         \"msg\":\"{method} request completed\"}}"
    );
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    #[test]
    fn entries_are_as_long_and_as_repetitive_as_real_ones() {
        let mut text = Vec::new();
        super::write(20_000, &mut text).unwrap();
        let mean = text.len() / 20_000;
        assert!((524..=544).contains(&mean), "{mean} bytes");
        let mut gzip = GzEncoder::new(Vec::new(), Compression::new(6));
        gzip.write_all(&text).unwrap();
        let ratio = text.len() as f64 / gzip.finish().unwrap().len() as f64;
        assert!((5.6..=6.1).contains(&ratio), "{ratio:.2}:1");
        let line = text.split(|&b| b == b'\n').next().unwrap();
        assert!(serde_json::from_slice::<serde_json::Value>(line).is_ok());
    }
}
