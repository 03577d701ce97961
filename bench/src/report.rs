//! The figures of a run: tables on the terminal, JSON for programs.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;

use serde::Serialize;

use crate::race::Failure;

/// All figures of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// What was measured on what.
    about: BTreeMap<&'static str, String>,
    tables: Vec<Table>,
    /// Bounds that the figures break.
    broken: Vec<String>,
}

/// Figures of one subject.
#[derive(Debug, Serialize)]
pub(crate) struct Table {
    pub(crate) id: &'static str,
    pub(crate) title: String,
    /// Name of each column, with its unit.
    pub(crate) columns: Vec<&'static str>,
    pub(crate) rows: Vec<Row>,
}

/// A line of a table. A figure that was not measured is `None`.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) figures: Vec<Option<f64>>,
}

impl Row {
    pub(crate) fn new(name: impl Into<String>, figures: impl IntoIterator<Item = f64>) -> Self {
        Self { name: name.into(), figures: figures.into_iter().map(Some).collect() }
    }

    pub(crate) fn with_gaps(name: impl Into<String>, figures: impl IntoIterator<Item = Option<f64>>) -> Self {
        Self { name: name.into(), figures: figures.into_iter().collect() }
    }
}

impl Report {
    pub(crate) fn new() -> Self {
        let mut about = BTreeMap::from([
            ("profile", profile()),
            ("architecture", std::env::consts::ARCH.to_owned()),
            ("cores", std::thread::available_parallelism().map_or(0, usize::from).to_string()),
        ]);
        if let Some(model) = cpu_model() {
            about.insert("processor", model);
        }
        if let Some(commit) = output("git", &["rev-parse", "--short", "HEAD"]) {
            about.insert("commit", commit);
        }
        if let Some(compiler) = output("rustc", &["--version"]) {
            about.insert("compiler", compiler);
        }
        Self { about, tables: Vec::new(), broken: Vec::new() }
    }

    pub(crate) fn print_about(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        for (name, value) in &self.about {
            writeln!(out, "{name:<14}{value}")?;
        }
        Ok(())
    }

    /// Prints a table and keeps it.
    pub(crate) fn add(&mut self, table: Table) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "\n{}", table.title)?;
        let name_width = table.rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = table.columns.iter().map(|column| column.chars().count().max(9)).collect();
        write!(out, "  {:name_width$}", "")?;
        for (column, width) in table.columns.iter().zip(&widths) {
            write!(out, "  {column:>width$}")?;
        }
        writeln!(out)?;
        for row in &table.rows {
            write!(out, "  {:name_width$}", row.name)?;
            for (figure, width) in row.figures.iter().zip(&widths) {
                write!(out, "  {:>width$}", figure.map_or_else(|| "-".to_owned(), readable))?;
            }
            writeln!(out)?;
        }
        self.tables.push(table);
        Ok(())
    }

    /// Keeps a bound that does not hold. The run goes on, and fails at its end.
    pub(crate) fn require(&mut self, holds: bool, bound: impl Into<String>) {
        if !holds {
            self.broken.push(bound.into());
        }
    }

    /// # Errors
    /// A bound does not hold.
    pub(crate) fn verdict(&self) -> Result<(), Failure> {
        match self.broken.is_empty() {
            true => Ok(()),
            false => Err(self.broken.join("; ").into()),
        }
    }

    pub(crate) fn write_json(&self, path: &Path) -> Result<(), Failure> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        Ok(std::fs::write(path, text)?)
    }
}

/// Returns a number with three significant digits or more.
fn readable(figure: f64) -> String {
    match figure.abs() {
        _ if figure == figure.trunc() && figure.abs() < 1e15 => format!("{figure:.0}"),
        size if size >= 100.0 => format!("{figure:.0}"),
        size if size >= 10.0 => format!("{figure:.1}"),
        size if size >= 0.1 => format!("{figure:.2}"),
        _ => format!("{figure:.4}"),
    }
}

/// Says how this program, and so every figure, was compiled.
fn profile() -> String {
    let kind =
        if cfg!(debug_assertions) { "dev, NOT what Lambda runs" } else { "release, as Lambda runs it" };
    format!("{kind} (Cargo.toml)")
}

fn cpu_model() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output =
        Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_fails_for_each_bound_that_does_not_hold() {
        let mut report = Report::new();
        report.require(true, "a");
        assert!(report.verdict().is_ok());
        report.require(false, "b");
        report.require(false, "c");
        assert_eq!(report.verdict().unwrap_err().to_string(), "b; c");
    }

    #[test]
    fn figures_have_at_least_three_digits() {
        let shown = [0.0, 7.0, 0.012_345, 0.304, 12.345, 123_456.7].map(readable);
        assert_eq!(shown, ["0", "7", "0.0123", "0.30", "12.3", "123457"]);
    }
}
