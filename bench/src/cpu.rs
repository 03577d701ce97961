//! What Linux knows of this process: time on the CPU, peak memory.

use std::io;

fn unreadable(what: &str) -> io::Error {
    io::Error::other(format!("{what} cannot be read"))
}

/// Seconds that this thread has been on a CPU.
fn thread_secs() -> io::Result<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanos: Option<u64> = text.split(' ').next().and_then(|word| word.parse().ok());
    nanos.map(|nanos| nanos as f64 / 1e9).ok_or_else(|| unreadable("/proc/thread-self/schedstat"))
}

/// Runs something on this thread; says how many CPU seconds it took.
pub(crate) fn timed<T>(run: impl FnOnce() -> T) -> io::Result<(f64, T)> {
    let before = thread_secs()?;
    let result = run();
    Ok((thread_secs()? - before, result))
}

/// The most memory that this process has had (KiB).
pub(crate) fn peak_memory_kib() -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let word = line.and_then(|line| line.split_whitespace().next());
    word.and_then(|word| word.parse().ok()).ok_or_else(|| unreadable("VmHWM"))
}
