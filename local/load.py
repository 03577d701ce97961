"""`make load`: uploads a large pino file to the running stack, and sends its event three more times.

RECORDS (200,000: 107 MB raw). Exits with 1 if a record is missing or duplicated, or if a duplicate event changes
anything."""

import collections
import gzip
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import time
import urllib.parse
import uuid

from client import Logferry, Missing, aws, done, eventually, expect, ledger_row, say, step
from stack import settings

RECORDS = int(os.environ.get("RECORDS") or 200_000)
PATIENCE_SECS = 900


def generated(folder: pathlib.Path) -> pathlib.Path:
    """Returns the file that the bench uses."""
    path = folder / f"pino-{RECORDS}.ndjson.gz"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        half = folder / "half.ndjson.gz"
        bench = ["cargo", "run", "--quiet", "--bin", "logferry-bench", "--"]
        subprocess.run(
            [*bench, "generate-pino", "--records", str(RECORDS), "--out", half], cwd=settings.ROOT, check=True
        )
        half.rename(path)
    return path


def days_of(path: pathlib.Path) -> list[str]:
    """Returns the UTC days of the file's records."""
    with gzip.open(path) as lines:
        times = [json.loads(line)["time"] for line in lines]
    return sorted({time.strftime("%Y-%m-%d", time.gmtime(ms / 1000)) for ms in times})


class Stored:
    """Reads an app's items and events directly from the tables and CloudWatch Logs."""

    def __init__(self, env: dict[str, str], app_id: str, days: list[str]):
        self.env, self.app_id, self.days = env, app_id, days
        self.dynamodb, self.logs = aws(env, "dynamodb"), aws(env, "logs")

    def items(self, table: str, pk: str) -> list[dict]:
        pages = self.dynamodb.get_paginator("query").paginate(
            TableName=self.env[table],
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": pk}},
            ConsistentRead=True,
        )
        return [item for page in pages for item in page["Items"]]

    def blocks(self) -> list[dict]:
        partitions = [f"{self.app_id}#{day}#{shard}" for day in self.days for shard in range(4)]
        return [item for partition in partitions for item in self.items("TABLE_LOGS", partition)]

    def counters(self) -> list[dict]:
        return self.items("TABLE_STATS", self.app_id)

    def events(self) -> collections.Counter:
        """Returns how often each record is in the log group, by its id."""
        group, seen = f"/logferry/{self.app_id}", collections.Counter()
        try:
            pages = self.logs.get_paginator("describe_log_streams").paginate(logGroupName=group)
            streams = [stream["logStreamName"] for page in pages for stream in page["logStreams"]]
        except self.logs.exceptions.ResourceNotFoundException:
            return seen
        for stream in streams:
            token = {}
            while True:
                page = self.logs.get_log_events(
                    logGroupName=group, logStreamName=stream, startFromHead=True, limit=10_000, **token
                )
                seen.update(json.loads(event["message"])["logId"] for event in page["events"])
                if not page["events"] or page["nextForwardToken"] == token.get("nextToken"):
                    break
                token = {"nextToken": page["nextForwardToken"]}
        return seen


def state(stored: Stored) -> dict:
    """Returns everything that a duplicate event could change."""
    blocks = [json.dumps(block, sort_keys=True, default=repr) for block in stored.blocks()]
    return {
        "blocks": len(blocks),
        "their SHA-256": hashlib.sha256("\n".join(blocks).encode()).hexdigest()[:16],
        "counters": stored.counters(),
        "events": sum(stored.events().values()),
    }


def run(env: dict[str, str], folder: pathlib.Path) -> None:
    path = generated(folder)
    days = days_of(path)
    step(f"1. {path.stat().st_size / 1e6:.1f} MB of gzip with {RECORDS:,} records of {', '.join(days)}")
    logferry, app_id = Logferry(env), f"load-{uuid.uuid4().hex[:6]}"
    logferry.api_key = logferry.admin("POST", "/apps", {"app_id": app_id, "name": "Load"})["api_key"]
    stored = Stored(env, app_id, days)
    key = f"logs/{app_id}/big file+ü 100%.gz"
    s3, begun = aws(env, "s3"), time.monotonic()
    version = s3.put_object(Bucket=env["BUCKET"], Key=key, Body=path.read_bytes())["VersionId"]
    done(f"PUT {key}")

    step("2. Ingest and flush")
    row = eventually(lambda: ledger_row(logferry, key), "the file should be ingested", PATIENCE_SECS)
    expect(row["status"] == "COMPLETED", f"it ended {row['status']}: {row.get('reason')}")
    expect(row["counts"]["ok"] == RECORDS, f"{row['counts']} counted, {RECORDS} records in the file")
    done(f"COMPLETED {time.monotonic() - begun:.1f} s after the PUT began")
    in_table = sum(int(block["count"]["N"]) for block in stored.blocks() if "count" in block)
    expect(in_table == RECORDS, f"{in_table} records in the table, {RECORDS} in the file")
    done(f"{in_table:,} records in {len(stored.blocks())} blocks")
    eventually(lambda: len(stored.events()) >= RECORDS, "every record should be in CloudWatch Logs", PATIENCE_SECS)
    done(f"{sum(stored.events().values()):,} events in CloudWatch Logs after {time.monotonic() - begun:.0f} s")
    newest = logferry.query(limit=100)
    times = [record["timestamp"] for record in newest]
    expect(len(times) == 100 and times == sorted(times, reverse=True), "the newest 100 should come newest first")
    done(f"GET /logs?limit=100 → {times[0]} … {times[-1]}")

    step("3. The same event three times more")
    before = state(stored)
    event = s3_event(env["BUCKET"], key, version, path.stat().st_size)
    for _ in range(3):
        answer = aws(env, "lambda").invoke(FunctionName=env["FN_INGEST"], Payload=json.dumps(event))
        said = answer["Payload"].read().decode()
        expect("FunctionError" not in answer, f"ingest failed on a duplicate event: {said}")
        done(f"ingest answers {said[:120]}")
    time.sleep(15)  # longer than the stream's window, in case a duplicate event wrote anything
    after = state(stored)
    for name, value in before.items():
        expect(after[name] == value, f"{name} changed: {value} → {after[name]}")
    done(f"unchanged: {before['blocks']} blocks byte for byte, the counters, {before['events']:,} events")


def s3_event(bucket: str, key: str, version: str, size: int) -> dict:
    """Returns an event as S3 sends it, with a form-encoded key."""
    sample = json.loads((settings.ROOT / "events" / "ingest" / "s3-put.json").read_text())
    record = sample["Records"][0]
    record["s3"]["bucket"]["name"] = bucket
    record["s3"]["object"].update(key=urllib.parse.quote_plus(key, safe="/"), versionId=version, size=size)
    return sample


def main() -> int:
    chosen = settings.from_environment()
    env = settings.local_env()
    try:
        run(env, chosen.state / "load")
    except Missing as problem:
        say(f"\nthe load run failed: {problem}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
