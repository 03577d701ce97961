"""The honest tenant: writes, queries, uploads and is probed continuously, and measures how long each takes."""

import contextlib
import dataclasses
import gzip
import json
import statistics
import threading
import time
import urllib.parse

from client import aws

from .web import Pages, Tenant

WRITE_EVERY_SECS = 0.5
POLL_SECS = 0.2
PATIENCE_SECS = 90
FILE_LINES = 50


@dataclasses.dataclass
class Figures:
    """The victim's measurements of one phase (seconds)."""

    query_secs: list[float] = dataclasses.field(default_factory=list)
    # The number of small reads that the emulator answers, one after the other, while each query runs.
    query_reads: list[int] = dataclasses.field(default_factory=list)
    flush_secs: list[float] = dataclasses.field(default_factory=list)

    def query(self) -> float:
        return statistics.median(self.query_secs)

    def query_in_reads(self) -> float:
        """The median query in reads of the emulator: a query that only waits for the emulator is not longer."""
        return statistics.median(self.query_reads)

    def flush(self) -> float:
        return statistics.median(self.flush_secs)


class Victim:
    def __init__(self, env: dict[str, str], app_id: str, pages: Pages):
        self.env = env
        self.tenant = Tenant(env, app_id, [pages.url(f"/ok?{number}") for number in range(3)])
        self.logs = aws(env, "logs")
        self.dynamodb = aws(env, "dynamodb")
        self.problems: list[str] = []
        # All records ever written, by message, and when.
        self.written: dict[str, float] = {}
        self.arrived: dict[str, float] = {}
        self.files: list[str] = []

    def live(self, seconds: float) -> Figures:
        """Writes and queries for `seconds`, uploads one file, and waits until all of it is in CloudWatch Logs."""
        figures, mine = Figures(), []
        self._upload()
        until = time.monotonic() + seconds
        stop = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(stop,), daemon=True)
        watcher.start()
        while time.monotonic() < until:
            message = f"{self.tenant.app_id} line {len(self.written)}"
            status, _ = self.tenant.call("POST", "/logs", {"level": "INFO", "message": message})
            self._expect(status == 200, f"a write was answered {status}")
            self.written[message] = time.monotonic()
            mine.append(message)
            query = urllib.parse.urlencode({"search": message, "limit": 5})
            with self._reads_of_the_emulator(figures.query_reads):
                begun = time.monotonic()
                status, found = self.tenant.call("GET", f"/logs?{query}")
                figures.query_secs.append(time.monotonic() - begun)
            right = status == 200 and [entry["message"] for entry in found["data"]] == [message]
            self._expect(right, f"a query for a record just written was answered {status}: {str(found)[:200]}")
            time.sleep(WRITE_EVERY_SECS)
        deadline = time.monotonic() + PATIENCE_SECS
        while any(message not in self.arrived for message in mine) and time.monotonic() < deadline:
            time.sleep(POLL_SECS)
        stop.set()
        watcher.join()
        missing = [message for message in mine if message not in self.arrived]
        self._expect(not missing, f"{len(missing)} records are not in CloudWatch Logs after {PATIENCE_SECS} s")
        now = time.monotonic()
        figures.flush_secs = [self.arrived.get(message, now) - self.written[message] for message in mine]
        return figures

    def check_everything(self, rows_of_checks: int) -> None:
        """Checks the final state: each record once, files COMPLETED, counters equal, probes up."""
        expected = len(self.written) + FILE_LINES * len(self.files)
        status, days = self.tenant.call("GET", f"/stats/{self.tenant.app_id}?days=2")
        counted = sum(day[level] for day in days["data"] for level in ("debug", "info", "warn", "error"))
        self._expect(counted == expected, f"the counters say {counted}, {expected} records were sent")
        found, cursor = [], ""
        while cursor is not None:
            status, page = self.tenant.call("GET", f"/logs?limit=1000{cursor}")
            self._expect(status == 200, f"reading everything back was answered {status}")
            found += page["data"]
            cursor = f"&cursor={urllib.parse.quote(page['cursor'])}" if page.get("cursor") else None
        ids = {entry["id"] for entry in found}
        self._expect(len(found) == len(ids) == expected, f"{len(found)} records, {len(ids)} ids, {expected} sent")
        for key in self.files:
            row = self._row(key)
            state = row and (row["status"], row["counts"]["ok"])
            self._expect(state == ("COMPLETED", FILE_LINES), f"{key} is {row}")
        status, rows = self.tenant.call("GET", f"/health/{self.tenant.app_id}?limit=1000")
        down = [row for row in rows["data"] if not row["ok"]]
        self._expect(not down, f"probes of a healthy page say: {down[:2]}")
        self._expect(len(rows["data"]) >= rows_of_checks, f"{len(rows['data'])} checks, not {rows_of_checks}")
        errors = self.tenant.statuses.server_errors()
        self._expect(not errors, f"server errors: {errors}")

    def _upload(self) -> None:
        now_ms = int(time.time() * 1000)
        lines = [{"level": 30, "time": now_ms + line, "msg": f"file line {line}"} for line in range(FILE_LINES)]
        content = gzip.compress("\n".join(map(json.dumps, lines)).encode())
        status, key = self.tenant.upload(content)
        self._expect(status == 200, f"an upload was answered {status}")
        self.files.append(key)
        deadline = time.monotonic() + PATIENCE_SECS
        while not self._row(key) and time.monotonic() < deadline:
            time.sleep(POLL_SECS)
        self._expect(self._row(key) is not None, f"{key} did not end within {PATIENCE_SECS} s")

    def _row(self, key: str) -> dict | None:
        _, rows = self.tenant.call("GET", f"/files?{urllib.parse.urlencode({'key': key})}")
        ended = (row for row in rows["data"] if row["status"] in ("COMPLETED", "FAILED"))
        return next(ended, None)

    @contextlib.contextmanager
    def _reads_of_the_emulator(self, counts: list[int]):
        """Reads straight from the emulator until the block ends, and appends how many reads it answered."""
        stop, answered = threading.Event(), 0

        def read() -> None:
            nonlocal answered
            while not stop.is_set():
                self.dynamodb.get_item(
                    TableName=self.env["TABLE_STATS"], Key={"pk": {"S": "none"}, "sk": {"S": "none"}}
                )
                answered += 1

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        try:
            yield
        finally:
            stop.set()
            reader.join()
        counts.append(answered)

    def _watch(self, stop: threading.Event) -> None:
        """Records when each record first appears in the log group."""
        group, since_ms = f"/logferry/{self.tenant.app_id}", int(time.time() * 1000) - 60_000
        while not stop.is_set():
            try:
                pages = self.logs.get_paginator("filter_log_events").paginate(logGroupName=group, startTime=since_ms)
                messages = [json.loads(event["message"]).get("message") for page in pages for event in page["events"]]
            except self.logs.exceptions.ResourceNotFoundException:
                messages = []
            now = time.monotonic()
            for message in messages:
                if message in self.written:
                    self.arrived.setdefault(message, now)
            time.sleep(POLL_SECS)

    def _expect(self, condition: bool, text: str) -> None:
        if not condition:
            self.problems.append(text)
