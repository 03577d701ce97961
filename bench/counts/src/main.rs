//! `make counts`: the instructions of the hot functions, counted by valgrind's callgrind and compared with
//! committed counts.

mod callgrind;
mod cases;
mod committed;

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use committed::{Committed, Conditions};

/// Any error of a count.
pub(crate) type Failure = Box<dyn std::error::Error>;

/// The most by which a count may exceed the committed one (percent).
const MAX_GROWTH_PERCENT: f64 = 3.0;

#[derive(Debug, Parser)]
#[command(name = "logferry-counts")]
struct Cli {
    /// Write the committed counts again.
    #[arg(long)]
    write: bool,
    /// Run one case; the program starts itself with this under valgrind.
    #[arg(long, hide = true)]
    case: Option<String>,
}

fn path() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/counts.txt"))
}

fn run(cli: &Cli) -> Result<(), Failure> {
    if let Some(name) = &cli.case {
        return cases::run(name);
    }
    let mut out = io::stdout().lock();
    if !callgrind::is_there() {
        writeln!(out, "counts: NOT checked, valgrind is not installed (Debian: apt-get install valgrind)")?;
        return Ok(());
    }
    let conditions = Conditions::here()?;
    let committed = Committed::read(path())?;
    if !cli.write && committed.conditions != conditions.0 {
        writeln!(
            out,
            "counts: NOT checked, counts.txt is of {}, and this is {}",
            committed.conditions, conditions.0
        )?;
        return Ok(());
    }
    let mut counted = Vec::new();
    let mut worse = String::new();
    for name in cases::NAMES {
        let count = callgrind::count(name)?;
        let change = committed.count(name).map(|before| (count as f64 / before as f64 - 1.0) * 100.0);
        let shown = change.map_or_else(|| "new".to_owned(), |percent| format!("{percent:+.1} %"));
        writeln!(out, "  {name:<28} {count:>14}  {shown}")?;
        match change {
            Some(percent) if percent > MAX_GROWTH_PERCENT => write!(worse, " {name} by {percent:.1} %;")?,
            None if !cli.write => write!(worse, " {name} has no committed count;")?,
            _ => {}
        }
        counted.push((name, count));
    }
    if cli.write {
        return committed::write(path(), &conditions, &counted);
    }
    match worse.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "more instructions than committed:{worse} the limit is {MAX_GROWTH_PERCENT} %. If that is meant, run \
             `make counts WRITE=yes` and commit bench/counts/counts.txt"
        )
        .into()),
    }
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("logferry-counts: {error}");
            ExitCode::FAILURE
        }
    }
}
