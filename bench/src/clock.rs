//! CPU time and peak memory of this process.

use std::io;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// What work took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Time {
    /// Of all threads of this process (seconds).
    pub(crate) cpu: f64,
    pub(crate) wall: f64,
}

fn process_cpu() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}

/// Runs a function. Returns the time that it took, and its result.
pub(crate) fn timed<T>(run: impl FnOnce() -> T) -> (Time, T) {
    let (cpu, wall) = (process_cpu(), Instant::now());
    let result = run();
    let time = Time { cpu: (process_cpu() - cpu).as_secs_f64(), wall: wall.elapsed().as_secs_f64() };
    (time, result)
}

/// Returns the peak memory of this process (KiB), from Linux.
pub(crate) fn peak_memory_kib() -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let word = line.and_then(|line| line.split_whitespace().next());
    word.and_then(|word| word.parse().ok()).ok_or_else(|| io::Error::other("VmHWM cannot be read"))
}
