//! The usual Node handler on the same file: `bench/node/handler.mjs`, run by the node of the tools folder.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::Command;

use logferry_core::model::redact::Redactor;
use logferry_corpus::Corpus;
use serde::Deserialize;

use crate::clock::{Time, timed};
use crate::function::{self, Object};
use crate::race::{Contender, Failure, median, race};
use crate::report::{Report, Row, Table};

/// What the handler prints.
#[derive(Debug, Deserialize)]
struct Run {
    records: u64,
    cpu_secs: f64,
    wall_secs: f64,
    peak_kib: u64,
}

fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn handler(node: &Path, plain: bool, file: &Path) -> Result<Run, Failure> {
    let script = repository().join("bench/node/handler.mjs");
    let mut command = Command::new(node);
    command.arg(script);
    if plain {
        command.arg("--plain");
    }
    let output = command.arg(file).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Measures our function and the handler, with the AWS SDK if it is installed and without it. The handler
/// times itself, without its start.
pub(crate) fn beside_node(report: &mut Report, records: u64, rounds: u32) -> Result<(), Failure> {
    let node: PathBuf = repository().join(".logferry/venv/bin/node");
    if !node.exists() {
        eprintln!("\nnode: NOT measured, {} is missing (`make tools`)", node.display());
        return Ok(());
    }
    let has_sdk = repository().join("bench/node/node_modules/@aws-sdk/client-dynamodb").exists();
    let redactor = Redactor::standard()?;
    let corpus = Corpus::of("NDJSON", records)?;
    let file = std::env::temp_dir().join(format!("logferry-bench-node-{}.gz", std::process::id()));
    std::fs::write(&file, &corpus.gzip)?;
    let object = Object::of(corpus.gzip.clone());
    let ours = RefCell::new(Vec::new());
    let runs = RefCell::new([Vec::new(), Vec::new()]);
    let raced = {
        let theirs = |plain: bool| {
            let (node, file, runs) = (&node, &file, &runs);
            move || {
                let run = handler(node, plain, file)?;
                if run.records != records {
                    return Err(format!("{} of {records} records", run.records).into());
                }
                runs.borrow_mut()[usize::from(plain)].push(run);
                Ok(())
            }
        };
        let mut contenders = vec![
            Contender::new("Logferry's function", || {
                let (time, outcome) = timed(|| function::run(&object, &redactor));
                outcome?;
                ours.borrow_mut().push(time);
                Ok(())
            }),
            Contender::new("Node, no SDK", theirs(true)),
        ];
        if has_sdk {
            contenders.push(Contender::new("Node, AWS SDK", theirs(false)));
        }
        race(rounds, &mut contenders)
    };
    std::fs::remove_file(&file)?;
    raced?;
    let time = |times: &[Time]| Time {
        cpu: median(times.iter().map(|time| time.cpu).collect()),
        wall: median(times.iter().map(|time| time.wall).collect()),
    };
    let ours = time(&ours.borrow());
    let row = |name: &str, taken: Time, peak: Option<f64>| {
        let megabytes = corpus.megabytes();
        let figures = [megabytes / taken.cpu, megabytes / taken.wall, taken.cpu / ours.cpu];
        Row::with_gaps(name, figures.map(Some).into_iter().chain([peak]))
    };
    let mut rows = vec![row("Logferry's function", ours, None)];
    let [with_sdk, plain] = runs.into_inner();
    for (name, runs) in [("Node, no SDK", plain), ("Node, AWS SDK v3", with_sdk)] {
        let Some(peak) = runs.iter().map(|run| run.peak_kib).max() else { continue };
        let times: Vec<Time> =
            runs.iter().map(|run| Time { cpu: run.cpu_secs, wall: run.wall_secs }).collect();
        rows.push(row(name, time(&times), Some(peak as f64 / 1024.0)));
    }
    if !has_sdk {
        eprintln!("\nnode with the AWS SDK: NOT measured, run `npm install --prefix bench/node`");
    }
    report.add(Table {
        id: "node",
        title: "The usual Node handler on the same file, one item per record".to_owned(),
        columns: vec!["MB/cpu-s", "MB/s", "CPU beside Logferry", "peak MiB"],
        rows,
    })?;
    Ok(())
}
