"""The attacks of a hostile tenant. Each repeats until it is stopped and uses only the tenant's own credentials;
`pressure` is the number of concurrent threads."""

import datetime
import gzip
import json
import random
import threading
import time
import urllib.parse

from client import aws
from stack.settings import ROOT

from .web import Pages, Tenant

DAY_MS = 86_400_000


def _lines(entries) -> bytes:
    return gzip.compress("\n".join(json.dumps(entry) for entry in entries).encode(), 6)


class Attack:
    name = ""
    pressure = 2
    # What an honest tenant does with as many bytes: the victim is then compared with that, not with silence.
    control: "type[Attack] | None" = None

    def __init__(self, env: dict[str, str], tenant: Tenant, pages: Pages, size: int):
        self.env, self.tenant, self.pages, self.size = env, tenant, pages, size
        self.rounds = 0

    def prepare(self) -> None:
        """Sets up what the attack needs."""

    def strike(self) -> None:
        """One round."""
        raise NotImplementedError

    def problems(self) -> list[str]:
        """Returns what the attack achieved and should not have."""
        return []

    def during(self, work):
        """Runs `work` while the attack goes on; returns what it returned."""
        self.prepare()
        stop = threading.Event()

        def go_on():
            while not stop.is_set():
                self.strike()
                self.rounds += 1

        threads = [threading.Thread(target=go_on, daemon=True) for _ in range(self.pressure)]
        for thread in threads:
            thread.start()
        try:
            time.sleep(1)
            return work()
        finally:
            stop.set()
            for thread in threads:
                thread.join(timeout=90)


class ScatteredDays(Attack):
    name = "small files that are spread over 2,000 days"

    def prepare(self) -> None:
        now_ms = int(time.time() * 1000)
        self.file = _lines({"level": 30, "time": now_ms - day * DAY_MS, "msg": "x"} for day in range(2_000))
        self.hours = [
            {"level": "info", "message": "x", "timestamp": _rfc3339(now_ms - hour * 3_600_000)} for hour in range(72)
        ]

    def strike(self) -> None:
        self.tenant.upload(self.file)
        self.tenant.call("POST", "/logs", {"logs": self.hours})


class CostlyQueries(Attack):
    name = "queries that find nothing in much"

    def prepare(self) -> None:
        now_ms = int(time.time() * 1000)
        text = "a" * 900
        entries = ({"level": 30, "time": now_ms - line, "msg": text} for line in range(40_000 * self.size))
        self.tenant.upload(_lines(entries))
        time.sleep(5)

    def strike(self) -> None:
        deep = ".".join(["a"] * 60)
        for question in ({"search": "zzz"}, {"context.a.b": "2"}, {f"context.{deep}": "2"}):
            self.tenant.call("GET", f"/logs?{urllib.parse.urlencode(question)}")


class CostlyChecks(Attack):
    name = "health checks with costly conditions, and tarpits"
    pressure = 1

    def prepare(self) -> None:
        pattern = "a" * 200 + "b"
        conditions = [f"[BODY] != pat(*{pattern})", "[BODY] != pat(*a*a*a*a*a*a*a*a*b)"] * 5
        checks = [
            {"name": f"costly-{number}", "url": self.pages.url(f"/page?{number}"), "conditions": conditions}
            for number in range(10 * self.size)
        ]
        checks += [self.pages.url(f"/tarpit?{number}") for number in range(10 * self.size)]
        path = f"/apps/{self.tenant.app_id}/health-urls"
        status, answer = self.tenant.call("POST", path, {"urls": checks})
        if status != 200:
            raise RuntimeError(f"POST {path} answered {status}: {answer}")
        self.slots = slots()

    def strike(self) -> None:
        run_health(self.env, next(self.slots))


class ManyUrls(Attack):
    name = "presigned URLs without end, one used again and again, one used for too much"
    pressure = 3

    def prepare(self) -> None:
        attendee = {"meetingId": "m", "attendeeId": "a"}
        path = f"/apps/{self.tenant.app_id}/join-tokens"
        self.wanted = attendee
        self.token = self.tenant.call("POST", path, attendee)[1]["data"]["token"]
        self.small = _lines([{"level": 30, "time": int(time.time() * 1000), "msg": "again"}])
        self.large = b"x" * (11 * 1024 * 1024)
        self.tenant.upload(self.large)

    def strike(self) -> None:
        bearer = {"Authorization": f"Bearer {self.token}"}
        for _ in range(10):
            status, given = self.tenant.call("POST", "/presigned-url", self.wanted, bearer)
        if status == 200:
            for _ in range(3):
                self.tenant.upload(self.small, given["presignedUrl"])
        else:
            time.sleep(0.2)


class AbandonedUrls(Attack):
    name = "unused URLs, overdue while sweep runs"
    pressure = 1

    def prepare(self) -> None:
        self.keys = []
        for _ in range(40 * self.size):
            status, given = self.tenant.call("POST", "/presigned-url", {"filename": "never.gz"})
            if status == 200:
                self.keys.append(given["key"])
        _age_grants(aws(self.env, "dynamodb"), self.env["TABLE_FILES"], self.env["BUCKET"], self.keys)

    def strike(self) -> None:
        run_sweep(self.env)
        time.sleep(1)

    def problems(self) -> list[str]:
        status, answer = self.tenant.call("GET", "/files?status=PENDING&limit=1000")
        waiting = {row["key"] for row in answer["data"]} & set(self.keys) if status == 200 else set(self.keys)
        return [f"{len(waiting)} of {len(self.keys)} unused URLs are not given up"] if waiting else []


class MergedQueries(Attack):
    name = "the operator's query over all apps, while many apps have many blocks"
    pressure = 1

    def prepare(self) -> None:
        for number in range(10 * self.size):
            other = Tenant(self.env, f"{self.tenant.app_id}-{number}")
            for _ in range(3):
                other.call("POST", "/logs", {"level": "info", "message": "x" * 1000})

    def strike(self) -> None:
        admin = {"X-Admin-Key": self.env["ADMIN_KEY"]}
        for question in ("limit=100", "limit=1000&search=zzz"):
            self.tenant.call("GET", f"/logs?{question}", headers=admin)


class OrderedHours(Attack):
    name = "the same lines in the order of their times (an honest tenant)"
    pressure = 1

    def times(self) -> list[int]:
        return sorted(JumpingHours.times(self))

    def prepare(self) -> None:
        month = self.times()
        self.file = _lines({"level": 30, "time": time_ms, "msg": "x"} for time_ms in month)

    def strike(self) -> None:
        self.tenant.upload(self.file)
        time.sleep(10)


class JumpingHours(OrderedHours):
    name = "files whose lines jump between the hours of a month"
    control = OrderedHours

    def times(self) -> list[int]:
        now_ms, lot = int(time.time() * 1000), random.Random(1)
        return [now_ms - lot.randrange(30 * 24) * 3_600_000 for _ in range(60_000 * self.size)]


ATTACKS = (ScatteredDays, CostlyQueries, CostlyChecks, ManyUrls, AbandonedUrls, MergedQueries, JumpingHours)


def _rfc3339(time_ms: int) -> str:
    return datetime.datetime.fromtimestamp(time_ms / 1000, datetime.UTC).isoformat(timespec="milliseconds")


def slots():
    """Yields event times, five minutes apart, so that each is another slot."""
    at = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    while True:
        yield at.isoformat().replace("+00:00", "Z")
        at += datetime.timedelta(minutes=5)


def _age_grants(dynamodb, table: str, bucket: str, keys: list[str]) -> None:
    """Changes the rows of URLs as if they had expired a quarter of an hour ago and had just become due again, so that
    the run need not wait."""
    now_ms, minute_ms = int(time.time() * 1000), 60_000
    times = {":made": now_ms - 22 * minute_ms, ":expired": now_ms - 17 * minute_ms, ":due": now_ms - minute_ms}
    for key in keys:
        dynamodb.update_item(
            TableName=table,
            Key={"pk": {"S": f"{bucket}/{key}"}, "sk": {"S": "grant"}},
            UpdateExpression="SET created_ms = :made, url_expires_ms = :expired, due_at = :due",
            ExpressionAttributeValues={name: {"N": str(value)} for name, value in times.items()},
            ConditionExpression="attribute_exists(pk)",
        )


def run_health(env: dict[str, str], event_time: str) -> None:
    event = json.loads((ROOT / "events" / "health" / "scheduled.json").read_text())
    event["time"] = event_time
    _invoke(env, "FN_HEALTH", event)


def run_sweep(env: dict[str, str]) -> None:
    _invoke(env, "FN_SWEEP", json.loads((ROOT / "events" / "sweep" / "scheduled.json").read_text()))


def _invoke(env: dict[str, str], function: str, event: dict) -> None:
    answer = aws(env, "lambda").invoke(FunctionName=env[function], Payload=json.dumps(event))
    said = answer["Payload"].read().decode()
    if "FunctionError" in answer:
        raise RuntimeError(f"{env[function]} failed: {said[:500]}")
