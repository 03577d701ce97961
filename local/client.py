"""Shared by the demo and the load run: a client of Logferry, and printing of results."""

import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import boto3

PATIENCE_SECS = 60
BOLD, DIM, GREEN, PLAIN = ("\033[1m", "\033[2m", "\033[32m", "\033[0m") if sys.stdout.isatty() else [""] * 4


class Missing(Exception):
    """An expected result is missing."""


def say(text: str = "") -> None:
    print(text, flush=True)


def step(text: str) -> None:
    say(f"\n{BOLD}{text}{PLAIN}")


def done(text: str) -> None:
    say(f"  {GREEN}✓{PLAIN} {text}")


def expect(condition, text: str) -> None:
    if not condition:
        raise Missing(text)


def http(method: str, url: str, headers: dict | None = None, body: bytes | None = None) -> bytes:
    request = urllib.request.Request(url, data=body, method=method, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read()
    except urllib.error.HTTPError as error:
        where = urllib.parse.urlsplit(url).path
        raise Missing(f"{method} {where} answered {error.code}: {error.read()[:500].decode()}") from None


def eventually(question, text: str, patience_secs: int = PATIENCE_SECS):
    """Polls until `question` returns a true value."""
    deadline = time.monotonic() + patience_secs
    while True:
        answer = question()
        if answer:
            return answer
        expect(time.monotonic() < deadline, f"{text} within {patience_secs} s")
        time.sleep(0.2)


class Logferry:
    """A client of the HTTP API."""

    def __init__(self, env: dict[str, str]):
        self.env = env
        self.api_key = None

    def call(self, method: str, path: str, body=None, headers=None):
        url = f"{self.env['API_URL']}{path}"
        data = None if body is None else json.dumps(body).encode()
        common = {"Content-Type": "application/json"} if data else {}
        return json.loads(http(method, url, {**common, **(headers or {})}, data))

    def admin(self, method: str, path: str, body=None):
        return self.call(method, path, body, {"X-Admin-Key": self.env["ADMIN_KEY"]})["data"]

    def app(self, method: str, path: str, body=None):
        return self.call(method, path, body, {"X-API-Key": self.api_key})

    def query(self, **filters) -> list[dict]:
        return self.app("GET", f"/logs?{urllib.parse.urlencode(filters)}")["data"]


def ledger_row(logferry: Logferry, key: str) -> dict | None:
    """Returns the file's row once it is COMPLETED or FAILED; None before."""
    rows = logferry.app("GET", f"/files?{urllib.parse.urlencode({'key': key})}")["data"]
    return next((row for row in rows if row["key"] == key and row["status"] in ("COMPLETED", "FAILED")), None)


def aws(env: dict[str, str], service: str):
    """Returns a client of one of the stack's AWS services."""
    return boto3.client(
        service,
        endpoint_url=env["AWS_ENDPOINT_URL"],
        region_name=env["AWS_REGION"],
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
    )
