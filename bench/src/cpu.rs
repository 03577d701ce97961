//! CPU time and peak memory of this process, from Linux.

use std::io;

fn unreadable(what: &str) -> io::Error {
    io::Error::other(format!("{what} cannot be read"))
}

/// Returns the CPU seconds of this thread.
fn thread_secs() -> io::Result<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanos: Option<u64> = text.split(' ').next().and_then(|word| word.parse().ok());
    nanos.map(|nanos| nanos as f64 / 1e9).ok_or_else(|| unreadable("/proc/thread-self/schedstat"))
}

/// Runs a function on this thread. Returns the CPU seconds it took, and its result.
pub(crate) fn timed<T>(run: impl FnOnce() -> T) -> io::Result<(f64, T)> {
    let before = thread_secs()?;
    let result = run();
    Ok((thread_secs()? - before, result))
}

/// Returns the peak memory of this process (KiB).
pub(crate) fn peak_memory_kib() -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let word = line.and_then(|line| line.split_whitespace().next());
    word.and_then(|word| word.parse().ok()).ok_or_else(|| unreadable("VmHWM"))
}
