"""`make demo`: uploads three log files, queries them, and finds them in CloudWatch Logs.

The client uses plain HTTP only. Exits with 1 if anything is missing."""

import datetime
import gzip
import json
import re
import sys
import uuid

from client import DIM, PLAIN, Logferry, Missing, aws, done, eventually, expect, http, ledger_row, say, step
from stack import command, settings

FIXTURES = settings.ROOT / "tests" / "fixtures"
LEVELS = ("debug", "info", "warn", "error")


def upload(logferry: Logferry, token: str, filename: str, body: bytes) -> str:
    """Uploads as a browser does: requests a URL, puts the file there. Returns the object's key."""
    wanted = {"meetingId": "meeting-1", "attendeeId": "attendee-1", "filename": filename}
    given = logferry.call("POST", "/presigned-url", wanted, {"Authorization": f"Bearer {token}"})
    given = given.get("data", given)
    http("PUT", given["presignedUrl"], {"Content-Type": "application/gzip"}, body)
    return given["key"]


def just_now(worker: str, entries: str) -> tuple[str, str]:
    """Returns the browser's files with times of the last minute; the fixtures have fixed times."""
    fixed = datetime.datetime(2024, 3, 1, 12, 0, tzinfo=datetime.UTC)
    shift = datetime.datetime.now(datetime.UTC) - fixed - datetime.timedelta(seconds=30)

    def moved(match: re.Match) -> str:
        time_then = datetime.datetime.fromisoformat(match[0].replace("Z", "+00:00"))
        return (time_then + shift).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    worker = re.sub(r"^[0-9-]{10}T[0-9:.]{12}Z", moved, worker, flags=re.MULTILINE)
    shift_ms = int(shift.total_seconds() * 1000)
    entries = re.sub(r"(?<=\"timestamp\": )\d+", lambda match: str(int(match[0]) + shift_ms), entries)
    return worker, entries


def run(env: dict[str, str]) -> None:
    logferry = Logferry(env)
    app_id = f"demo-{uuid.uuid4().hex[:6]}"

    step("1. An app registers and vouches for a browser")
    logferry.api_key = logferry.admin("POST", "/apps", {"app_id": app_id, "name": "Demo shop"})["api_key"]
    done(f"POST /apps → app {app_id}, API key {logferry.api_key[:6]}… (shown once)")
    attendee = {"meetingId": "meeting-1", "attendeeId": "attendee-1"}
    token = logferry.app("POST", f"/apps/{app_id}/join-tokens", attendee)["data"]["token"]
    done(f"POST /apps/{app_id}/join-tokens → a join token of {len(token)} characters")

    step("2. Three files go up through presigned URLs, with plain HTTP")
    pino = (FIXTURES / "pino" / "service.ndjson.gz").read_bytes()
    browser = FIXTURES / "browser"
    worker, entries = just_now((browser / "worker.log").read_text(), (browser / "entries.json").read_text())
    files = {
        "service.ndjson.gz": (pino, 2000, "real pino output of 2024, gzip"),
        "worker.log.gz": (gzip.compress(worker.encode()), 40, "a browser worker's text lines of just now, gzip"),
        "entries.gz": (entries.encode(), 25, "a browser's array, not compressed though it says so"),
    }
    keys = {}
    for name, (body, _, what) in files.items():
        keys[name] = upload(logferry, token, name, body)
        done(f"PUT {name:<18} {len(body):>7,} bytes   {DIM}{what}{PLAIN}")

    step("3. Ingest stores their records")
    for name, (_, records, _) in files.items():
        row = eventually(lambda key=keys[name]: ledger_row(logferry, key), f"{name} should be ingested")
        expect(row["status"] == "COMPLETED", f"{name} ended {row['status']}: {row.get('reason')}")
        stored = row["counts"]["ok"]
        expect(stored == records, f"{name}: {stored} records stored, {records} sent")
        done(f"{name:<18} {row['status']}   {stored:>5,} records")
    total = sum(records for _, records, _ in files.values())

    step("4. Queries find them")
    newest = logferry.query(limit=3)
    expect(len(newest) == 3, "GET /logs should return records")
    done("GET /logs?limit=3")
    for record in newest:
        say(f"      {record['timestamp']}  {record['level']:<5}  {record['message'][:60]}")
    errors = logferry.query(level="ERROR", limit=1000)
    expect(errors and all(record["level"] == "ERROR" for record in errors), "GET /logs?level=ERROR should find errors")
    done(f"GET /logs?level=ERROR → {len(errors)} records")
    found = logferry.query(search="zürich")
    expect(len(found) == 1, "GET /logs?search=zürich should find one record")
    done(f"GET /logs?search=zürich → {found[0]['message']!r}")
    written = {"level": "info", "message": "hello from the demo", "context": {"step": "4"}}
    logferry.app("POST", "/logs", written)
    found = logferry.query(**{"context.step": "4"})
    expect([record["message"] for record in found] == [written["message"]], "a write should be in the next query")
    done("POST /logs → in the next query at once")
    total += 1

    step("5. The counters agree")
    days = logferry.app("GET", f"/stats/{app_id}?days=7")["data"]
    expect(len(days) == 7, "GET /stats should return seven days")
    done(f"GET /stats/{app_id}?days=7 → {json.dumps({name: days[0][name] for name in ('date', *LEVELS)})}, …")
    counted = sum(day[level] for day in days for level in LEVELS)
    expect(counted == 66, f"the last seven days should count the 66 records of just now, not {counted}")

    step("6. CloudWatch Logs has them too")
    logs = aws(env, "logs")
    group = f"/logferry/{app_id}"

    def flushed() -> list[dict] | None:
        try:
            pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group)
            events = [json.loads(event["message"]) for page in pages for event in page["events"]]
        except logs.exceptions.ResourceNotFoundException:
            return None
        return events if len({event["logId"] for event in events}) >= total else None

    events = eventually(flushed, f"{total} events should be in the log group {group}")
    distinct = len({event["logId"] for event in events})
    expect(distinct == total, f"{distinct} distinct events in {group}, {total} records stored")
    streams = {stream["logStreamName"] for stream in logs.describe_log_streams(logGroupName=group)["logStreams"]}
    done(f"{distinct:,} events in {group}, streams {', '.join(sorted(streams)[:3])}{' …' if len(streams) > 3 else ''}")
    say(f"      {DIM}{json.dumps(events[-1])[:100]}…{PLAIN}")

    step("Look at them")
    say(f"  {env['API_URL']}/console/")
    say(f"  log in with the app's API key {logferry.api_key}")
    say(f"  or, for every app, with ADMIN_KEY of {settings.from_environment().local_env}")

    step("To go on (the stack keeps running; `make down` stops it)")
    say(f"  set -a; . {settings.from_environment().local_env}; API_KEY={logferry.api_key}; set +a")
    say('  curl -sH "X-API-Key: $API_KEY" "$API_URL/logs?level=ERROR&limit=2"')
    say("""  curl -sH "X-API-Key: $API_KEY" -d '{"level":"warn","message":"mine"}' "$API_URL/logs\"""")


def main() -> int:
    try:
        run(command.up(settings.from_environment()))
    except (Missing, settings.Problem) as problem:
        say(f"\nthe demo failed: {problem}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
