//! `logferry cost`: the monthly bill of a deployment from what it does. docs/costs.md prints three of them.
//!
//! Units are those that docs/costs.md measures and explains; prices are list prices of us-east-1, 2026-11.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

/// USD per million DynamoDB write request units, and per million read request units.
const WRITE: f64 = 0.625;
const READ: f64 = 0.125;
/// USD per GB and month in a table, by its class.
const TABLE_GB: f64 = 0.25;
const TABLE_GB_INFREQUENT: f64 = 0.10;
/// Price of a write in the infrequent class, of one in the standard class.
const WRITE_INFREQUENT: f64 = 1.25;
/// USD per GB into CloudWatch Logs, by the class of the group.
const LOGS_IN: f64 = 0.50;
const LOGS_IN_INFREQUENT: f64 = 0.25;
/// USD per GB and month stored in CloudWatch Logs, which is compressed to about 15 %.
const LOGS_GB: f64 = 0.03;
const LOGS_RATIO: f64 = 0.15;
/// USD per GB and month in S3, per million PUT and GET requests, per million requests of an HTTP API.
const S3_GB: f64 = 0.023;
const S3_PUT: f64 = 5.00;
const S3_GET: f64 = 0.40;
const HTTP_API: f64 = 1.00;
/// USD per GB-second of Lambda, per million invocations.
const LAMBDA_GB_SECOND: f64 = 0.000_016_666_7;
const LAMBDA_CALL: f64 = 0.20;
/// USD a month for a custom metric, for a metric of an alarm, for a secret.
const METRIC: f64 = 0.30;
const ALARM: f64 = 0.10;
const SECRET: f64 = 0.40;

/// Write units that store a GB of raw logs in full blocks, and their size in the tables and as gzip in S3.
const UNITS_PER_GB: f64 = 166_000.0;
const STORED_RATIO: f64 = 0.17;
/// Write units of a file beside its blocks, of one API write, and of an entry of 500 bytes in a batch.
const UNITS_PER_FILE: f64 = 20.0;
const UNITS_PER_WRITE: f64 = 5.0;
const UNITS_PER_ENTRY: f64 = 0.22;
/// Share of the write units of storing that `flush` adds for its marks.
const MARKS: f64 = 0.02;
/// Write units of a full block, which `UNITS_PER_GB` consists of.
const UNITS_PER_BLOCK: f64 = 64.0;
/// Write and read units of a row in the log of arrivals. A row has the blocks of an app in a batch: at most as many
/// rows as blocks.
const ARRIVAL_WRITES: f64 = 1.0;
const ARRIVAL_READS: f64 = 2.0;
/// What an event in CloudWatch Logs has beside its message: `logId`, and 26 bytes that CloudWatch counts.
const EVENT_OVERHEAD: f64 = 1.12;
const ENTRY_GB: f64 = 500.0 / 1e9;
/// Seconds of `ingest` for a GB of raw logs, its memory in GB, GB-seconds of a request of `api` or `presign`.
const INGEST_SECONDS_PER_GB: f64 = 25.0;
const INGEST_GB: f64 = 1.73;
const REQUEST_GB_SECONDS: f64 = 0.02;
/// Scheduled runs a month, and the GB-seconds of each.
const RUNS: f64 = 17_280.0;
const RUN_GB_SECONDS: f64 = 0.5 * 0.5;
/// The catalogue without the metrics of health checks, the metrics of the alarms, the secrets
/// (local/tests/test_costs.py counts them).
const METRICS: f64 = 26.0;
const ALARM_METRICS: f64 = 28.0;
const SECRETS: f64 = 2.0;
/// USD a month of `sweep`'s round trips over the bucket: lists and lookups, for a few thousand objects.
const SWEEP: f64 = 0.4;
/// USD a month of a health check, and of the metrics of an app with health checks.
const HEALTH_URL: f64 = 0.012;
const HEALTH_APP: f64 = 1.20;
const DAYS_PER_MONTH: f64 = 30.0;

/// Compute the monthly bill of a deployment, in USD.
///
/// docs/costs.md explains the figures.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Args {
    /// GB of raw logs in files.
    #[arg(long, default_value_t = 0.0, value_parser = not_negative)]
    gb: f64,
    /// Mean raw size of a file in MB.
    #[arg(long, default_value_t = 10.0, value_parser = positive)]
    file_mb: f64,
    /// API writes.
    #[arg(long, default_value_t = 0.0, value_parser = not_negative)]
    requests: f64,
    /// Entries of 500 bytes in each API write.
    #[arg(long, default_value_t = 1.0, value_parser = positive)]
    entries: f64,
    /// URLs with a health check.
    #[arg(long, default_value_t = 0)]
    urls: u32,
    /// Apps with health checks.
    #[arg(long, default_value_t = 1)]
    apps: u32,
    /// Share of the records that is forwarded to CloudWatch Logs, from 0 to 1.
    #[arg(long, default_value_t = 1.0, value_parser = share)]
    forwarded: f64,
    /// The parameter LogGroupClass.
    #[arg(long, value_enum, default_value_t = Class::Standard)]
    log_class: Class,
    /// The parameter TableClass.
    #[arg(long, value_enum, default_value_t = Class::Standard)]
    table_class: Class,
    /// Days that records are kept.
    #[arg(long, default_value_t = 90)]
    retention_days: u32,
    /// Days that CloudWatch Logs keeps them.
    #[arg(long, default_value_t = 30)]
    log_days: u32,
    /// Days that S3 keeps the files: the parameter ObjectRetentionDays.
    #[arg(long, default_value_t = 90)]
    object_days: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Class {
    Standard,
    Infrequent,
}

fn not_negative(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if f64::is_finite(number) && number >= 0.0 => Ok(number),
        _ => Err("must be a number, 0 or more".to_owned()),
    }
}

fn positive(text: &str) -> Result<f64, String> {
    not_negative(text)
        .ok()
        .filter(|number| *number > 0.0)
        .ok_or_else(|| "must be a number greater than 0".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    not_negative(text)
        .ok()
        .filter(|number| *number <= 1.0)
        .ok_or_else(|| "must be a number from 0 to 1".to_owned())
}

impl Args {
    fn raw_gb(&self) -> f64 {
        self.gb + self.requests * self.entries * ENTRY_GB
    }

    fn files(&self) -> f64 {
        self.gb * 1000.0 / self.file_mb
    }

    /// Blocks of a month: at least one per file, and one per API write.
    fn blocks(&self) -> f64 {
        (self.gb * UNITS_PER_GB / UNITS_PER_BLOCK).max(self.files()) + self.requests
    }

    /// Returns USD a month, by part.
    fn bill(&self) -> [(&'static str, f64); 9] {
        let (write_price, table_price) = match self.table_class {
            Class::Standard => (WRITE, TABLE_GB),
            Class::Infrequent => (WRITE * WRITE_INFREQUENT, TABLE_GB_INFREQUENT),
        };
        let logs_in = match self.log_class {
            Class::Standard => LOGS_IN,
            Class::Infrequent => LOGS_IN_INFREQUENT,
        };
        let files = self.files();
        let more_entries = (self.entries - 1.0).max(0.0) * UNITS_PER_ENTRY;
        // One for the mark of `flush`.
        let per_request = UNITS_PER_WRITE + more_entries + 1.0;
        let units =
            self.gb * UNITS_PER_GB * (1.0 + MARKS) + files * UNITS_PER_FILE + self.requests * per_request;
        let stored_gb = self.raw_gb() * STORED_RATIO * f64::from(self.retention_days) / DAYS_PER_MONTH;
        let object_months = f64::from(self.object_days) / DAYS_PER_MONTH;
        let sent_gb = self.raw_gb() * self.forwarded * EVENT_OVERHEAD;
        let gb_seconds = self.gb * INGEST_SECONDS_PER_GB * INGEST_GB
            + (self.requests + files) * REQUEST_GB_SECONDS
            + RUNS * RUN_GB_SECONDS;
        let calls = self.requests * 2.0 + files * 3.0 + RUNS;
        let health_metrics = if self.urls > 0 { f64::from(self.apps) * HEALTH_APP } else { 0.0 };
        [
            ("writing to DynamoDB", units / 1e6 * write_price),
            ("keeping in DynamoDB", stored_gb * table_price),
            (
                "order of arrival, for tails",
                self.blocks() / 1e6 * (ARRIVAL_WRITES * WRITE + ARRIVAL_READS * READ),
            ),
            ("CloudWatch Logs", sent_gb * (logs_in + kept_in_logs(self.log_days))),
            ("S3", self.gb * STORED_RATIO * object_months * S3_GB + files / 1e6 * (S3_PUT + S3_GET)),
            ("HTTP API", (self.requests + files) / 1e6 * HTTP_API),
            ("Lambda", LAMBDA_GB_SECOND * gb_seconds + calls / 1e6 * LAMBDA_CALL),
            ("health checks", f64::from(self.urls) * HEALTH_URL + health_metrics),
            (
                "metrics, alarms, secrets, sweep",
                METRICS * METRIC + ALARM_METRICS * ALARM + SECRETS * SECRET + SWEEP,
            ),
        ]
    }

    fn total(&self) -> f64 {
        self.bill().iter().map(|(_, usd)| usd).sum()
    }

    /// Returns USD a month if the same logs went to CloudWatch Logs, and nowhere else, with the retention of the
    /// records.
    fn cloudwatch_alone(&self) -> f64 {
        self.raw_gb() * (LOGS_IN + kept_in_logs(self.retention_days))
    }
}

/// USD for keeping a GB in CloudWatch Logs.
fn kept_in_logs(days: u32) -> f64 {
    LOGS_GB * LOGS_RATIO * f64::from(days) / DAYS_PER_MONTH
}

/// An amount with two decimals and a comma between thousands.
fn usd(amount: f64) -> String {
    let plain = format!("{amount:.2}");
    let (whole, cents) = plain.split_once('.').unwrap_or((&plain, "00"));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{grouped}.{cents}")
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let mut out = io::stdout().lock();
    for (part, amount) in args.bill() {
        writeln!(out, "  {:>10}  {part}", usd(amount))?;
    }
    writeln!(out, "  {:>10}  USD a month, of {:.1} GB of raw logs", usd(args.total()), args.raw_gb())?;
    writeln!(out, "  {:>10}  with CloudWatch Logs alone", usd(args.cloudwatch_alone()))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    const PAGE: &str = include_str!("../../docs/costs.md");

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn args(line: &str) -> Args {
        Line::try_parse_from(std::iter::once("cost").chain(line.split_whitespace())).unwrap().args
    }

    /// The users of docs/costs.md.
    fn users() -> [Args; 3] {
        [
            args("--gb 1 --file-mb 1 --requests 100000 --urls 3"),
            args("--gb 100 --requests 1000000 --entries 10 --urls 20 --apps 5"),
            args("--gb 2000 --file-mb 50 --requests 5000000 --entries 100 --urls 100 --apps 20"),
        ]
    }

    #[test]
    fn the_page_shows_the_bills_of_the_calculator() {
        let columns: Vec<Args> =
            users().into_iter().flat_map(|user| [user, Args { forwarded: 0.05, ..user }]).collect();
        let row = |name: &str, amount: &dyn Fn(&Args) -> f64| {
            let cells: Vec<String> = columns.iter().map(|column| usd(amount(column))).collect();
            format!("| {name} | {} |\n", cells.join(" | "))
        };
        let mut table = String::new();
        for (index, (part, _)) in columns[0].bill().iter().enumerate() {
            table += &row(part, &|column| column.bill()[index].1);
        }
        table += &row("**together**", &Args::total);
        table += &row("CloudWatch Logs alone", &Args::cloudwatch_alone);
        assert!(PAGE.contains(&table), "docs/costs.md should have this table:\n{table}");
    }

    #[test]
    fn the_units_are_those_that_the_page_explains() {
        let cell = |start: &str| -> f64 {
            let (_, rest) = PAGE.split_once(start).unwrap();
            let digits = rest.chars().take_while(|c| c.is_ascii_digit() || *c == ',');
            digits.filter(char::is_ascii_digit).collect::<String>().parse().unwrap()
        };
        // Per million records of 534 bytes.
        let blocks = cell("**blocks of about 64 KiB (Logferry)** | **") / 0.534;
        assert!((blocks / UNITS_PER_GB - 1.0).abs() < 0.01, "{blocks}");
        let per_million_arrivals = ARRIVAL_WRITES * WRITE + ARRIVAL_READS * READ;
        assert!(
            PAGE.contains(&format!("{per_million_arrivals} USD per million blocks")),
            "{per_million_arrivals}"
        );
        let of_a_hundred = (UNITS_PER_WRITE + 99.0 * UNITS_PER_ENTRY) / 100.0;
        assert!((cell("\n| 100 | ") / 1e6 / of_a_hundred - 1.0).abs() < 0.1);
    }

    #[test]
    fn more_of_anything_costs_no_less() {
        let base = users()[1];
        for more in [
            Args { gb: base.gb * 2.0, ..base },
            Args { requests: base.requests * 2.0, ..base },
            Args { entries: base.entries * 2.0, ..base },
            Args { retention_days: base.retention_days * 2, ..base },
            Args { object_days: base.object_days * 2, ..base },
        ] {
            assert!(more.total() > base.total(), "{more:?}");
        }
    }

    #[test]
    fn a_deployment_without_logs_costs_what_the_page_says_a_stack_at_rest_costs() {
        let at_rest = args("").total() - METRICS * METRIC;
        assert!(PAGE.contains(&format!("about {at_rest:.0} USD a month (alarms")), "{at_rest}");
    }

    #[test]
    fn the_readme_compares_the_bills_of_the_calculator() {
        let readme = include_str!("../../README.md");
        let (some, more) = (args("--gb 100 --forwarded 0"), args("--gb 1000 --forwarded 0"));
        let alone = format!("{:.0} USD a month for 100 GB", some.cloudwatch_alone());
        let own = format!(
            "you want {:.0} USD instead ({:.0} instead of {:.0} for 1,000 GB)",
            some.total(),
            more.total(),
            more.cloudwatch_alone()
        );
        assert!(readme.contains(&alone) && readme.contains(&own), "{alone}; {own}");
    }

    #[test]
    fn an_amount_has_a_comma_between_thousands() {
        assert_eq!(
            [0.0, 999.999, 1234.5, 1_234_567.0].map(usd),
            ["0.00", "1,000.00", "1,234.50", "1,234,567.00"]
        );
    }

    #[test]
    fn a_share_above_one_a_negative_size_and_an_empty_file_are_refused() {
        for line in ["--forwarded 1.5", "--gb=-1", "--gb nan", "--file-mb 0", "--log-class cold"] {
            assert!(
                Line::try_parse_from(std::iter::once("cost").chain(line.split_whitespace())).is_err(),
                "{line}"
            );
        }
    }
}
