"""`make cost`: the monthly bill of a deployment from what it does. docs/costs.md prints three of them.

Units are those that docs/costs.md measures and explains; prices are list prices of us-east-1, 2026-11."""

import argparse
import dataclasses
import sys

# USD per million DynamoDB write and read request units, and per GB and month stored.
WRITE, READ, TABLE_GB = 0.625, 0.125, 0.25
TABLE_GB_INFREQUENT = 0.10
# USD per GB into CloudWatch Logs, and per GB and month stored, which is compressed to about 15 %.
LOGS_IN = {"STANDARD": 0.50, "INFREQUENT_ACCESS": 0.25}
LOGS_GB, LOGS_RATIO = 0.03, 0.15
# USD per GB and month in S3, per million PUT and GET requests, per million requests of an HTTP API.
S3_GB, S3_PUT, S3_GET, HTTP_API = 0.023, 5.00, 0.40, 1.00
# USD per GB-second of Lambda, per million invocations.
LAMBDA_GB_SECOND, LAMBDA_CALL = 0.0000166667, 0.20
# USD a month for a custom metric, for a metric of an alarm, for a secret.
METRIC, ALARM, SECRET = 0.30, 0.10, 0.40

# Write units that store a GB of raw logs in full blocks, and their size in the tables and as gzip in S3.
UNITS_PER_GB = 166_000
STORED_RATIO = 0.17
# Write units of a file beside its blocks, of one API write, and of an entry of 500 bytes in a batch.
UNITS_PER_FILE, UNITS_PER_WRITE, UNITS_PER_ENTRY = 20, 5, 0.22
# Share of the write units of storing that flush adds for its marks.
MARKS = 0.02
# What an event in CloudWatch Logs has beside its message: `logId`, and 26 bytes that CloudWatch counts.
EVENT_OVERHEAD = 1.12
ENTRY_GB = 500 / 1e9
# Seconds of ingest for a GB of raw logs (1769 MB of memory), and of a request of api or presign (0.5 to 1 GB).
INGEST_SECONDS_PER_GB, INGEST_GB, REQUEST_GB_SECONDS = 25, 1.73, 0.02
# GB-seconds a month of the two schedules, flush not included.
SCHEDULES_GB_SECONDS = 17_280 * 0.5 * 0.5
# The catalogue without those of health checks, the metrics of the alarms, the secrets.
METRICS, ALARM_METRICS, SECRETS = 24, 27, 2
# Round trips of sweep over the bucket: lists and lookups, for a few thousand objects.
SWEEP = 0.4
HEALTH_URL, HEALTH_APP = 0.012, 1.20


@dataclasses.dataclass(frozen=True)
class Use:
    """A month of a deployment."""

    # GB of raw logs in files, and the mean raw size of a file in MB.
    gb: float = 0
    file_mb: float = 10
    # API writes, and entries of 500 bytes in each.
    requests: float = 0
    entries: float = 1
    urls: int = 0
    apps: int = 1
    # Share of the records that is forwarded to CloudWatch Logs, and the class of its groups.
    forwarded: float = 1.0
    log_class: str = "STANDARD"
    table_class: str = "STANDARD"
    retention_days: int = 90
    log_days: int = 30
    # Months since the first object: S3 keeps them without end by default.
    months: int = 12

    @property
    def raw_gb(self) -> float:
        return self.gb + self.requests * self.entries * ENTRY_GB

    @property
    def files(self) -> float:
        return self.gb * 1000 / self.file_mb


def bill(use: Use) -> dict[str, float]:
    """USD a month, by part."""
    writes = use.gb * UNITS_PER_GB * (1 + MARKS) + use.files * UNITS_PER_FILE
    entry_units = max(0.0, use.entries - 1) * UNITS_PER_ENTRY
    writes += use.requests * (UNITS_PER_WRITE + entry_units + 1)  # the mark of flush
    stored_gb = use.raw_gb * STORED_RATIO * use.retention_days / 30
    table_price = TABLE_GB if use.table_class == "STANDARD" else TABLE_GB_INFREQUENT
    write_price = WRITE if use.table_class == "STANDARD" else WRITE * 1.25
    sent_gb = use.raw_gb * use.forwarded * EVENT_OVERHEAD
    return {
        "writing to DynamoDB": writes / 1e6 * write_price,
        "keeping in DynamoDB": stored_gb * table_price,
        "CloudWatch Logs": sent_gb * (LOGS_IN[use.log_class] + LOGS_GB * LOGS_RATIO * use.log_days / 30),
        "S3": use.gb * STORED_RATIO * S3_GB * use.months + use.files / 1e6 * (S3_PUT + S3_GET),
        "HTTP API": (use.requests + use.files) / 1e6 * HTTP_API,
        "Lambda": LAMBDA_GB_SECOND
        * (
            use.gb * INGEST_SECONDS_PER_GB * INGEST_GB
            + (use.requests + use.files) * REQUEST_GB_SECONDS
            + SCHEDULES_GB_SECONDS
        )
        + (use.requests * 2 + use.files * 3 + 17_280) / 1e6 * LAMBDA_CALL,
        "health checks": use.urls * HEALTH_URL + (use.apps * HEALTH_APP if use.urls else 0),
        "metrics, alarms, secrets, sweep": METRICS * METRIC + ALARM_METRICS * ALARM + SECRETS * SECRET + SWEEP,
    }


def cloudwatch_alone(use: Use) -> float:
    """USD a month if the same logs went to CloudWatch Logs, and nowhere else, with the retention of the records."""
    return use.raw_gb * (LOGS_IN["STANDARD"] + LOGS_GB * LOGS_RATIO * use.retention_days / 30)


# The users of docs/costs.md.
SMALL = Use(gb=1, file_mb=1, requests=100_000, entries=1, urls=3)
MIDDLE = Use(gb=100, file_mb=10, requests=1_000_000, entries=10, urls=20, apps=5)
LARGE = Use(gb=2000, file_mb=50, requests=5_000_000, entries=100, urls=100, apps=20)


def narrowed(use: Use) -> Use:
    """The same with a twentieth of the records forwarded, such as warnings and errors."""
    return dataclasses.replace(use, forwarded=0.05)


def table(uses: list[Use]) -> str:
    """The bills side by side, as a table of Markdown without its heading."""
    bills = [bill(use) for use in uses]
    rows = [(part, [found[part] for found in bills]) for part in bills[0]]
    rows.append(("**together**", [sum(found.values()) for found in bills]))
    rows.append(("CloudWatch Logs alone", [cloudwatch_alone(use) for use in uses]))
    return "\n".join(f"| {part} | " + " | ".join(f"{value:,.2f}" for value in values) + " |" for part, values in rows)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="make cost OPTIONS='…'", description="The monthly bill of a deployment.")
    for field in dataclasses.fields(Use):
        option = "--" + field.name.replace("_", "-")
        parser.add_argument(option, type=type(field.default), default=field.default)
    use = Use(**vars(parser.parse_args(arguments)))
    for part, usd in bill(use).items():
        print(f"  {usd:10,.2f}  {part}")
    print(f"  {sum(bill(use).values()):10,.2f}  USD a month, of {use.raw_gb:,.1f} GB of raw logs")
    print(f"  {cloudwatch_alone(use):10,.2f}  with CloudWatch Logs alone")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
