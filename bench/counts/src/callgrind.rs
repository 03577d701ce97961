//! Runs a case of this program under callgrind.

use std::hint::black_box;
use std::process::{Command, Stdio};

use crate::Failure;

/// Whether valgrind can be started.
pub(crate) fn is_there() -> bool {
    let mut command = Command::new("valgrind");
    let status = command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Runs work of which the instructions are counted. Callgrind counts while this function runs, which it
/// knows by its name.
#[inline(never)]
pub(crate) fn counted_work(work: &mut dyn FnMut()) {
    work();
    // Keeps the call from becoming a jump, which would end the function before the work.
    black_box(());
}

/// Returns the number of instructions that a case executes.
pub(crate) fn count(case: &str) -> Result<u64, Failure> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no"])
        .arg("--toggle-collect=*counted_work*")
        .arg(std::env::current_exe()?)
        .args(["--case", case])
        .output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{case}: {text}").into());
    }
    let collected = text.lines().find_map(|line| line.split("Collected :").nth(1));
    let count = collected.and_then(|count| count.trim().parse().ok());
    // A case that was not recognised collects nothing.
    count.filter(|&count| count > 0).ok_or_else(|| format!("{case}: no count in {text}").into())
}
