"""The configurations of docs/integrations.md, run as they stand, by the real clients on the local stack."""

import json
import os
import pathlib
import re
import subprocess
import sys
import urllib.parse
import urllib.request
import uuid

import pytest

HERE = pathlib.Path(__file__).resolve().parent
PAGE = (HERE.parent.parent / "docs" / "integrations.md").read_text()
RECORDS = 1000
LEVELS = ["DEBUG", "INFO", "WARN", "ERROR"]
GIVE_UP_SECS = 120

# A configuration: its name in brackets, then its block.
BLOCK = re.compile(r"(?ms)^(?:#+ [^\n]*)?\((?P<name>[a-z-]+)\)\n\n```(?P<language>\w+)\n(?P<code>.*?)^```")
BLOCKS = {match["name"]: match for match in BLOCK.finditer(PAGE)}

LOG_IN_PYTHON = """
LOG = [logger.debug, logger.info, logger.warning, logger.error]
for i in range({count}):
    LOG[i % 4]("record %d", i, extra={extra})
"""
OTEL_PYTHON = LOG_IN_PYTHON.format(count=RECORDS, extra='{"n": i, "user": {"id": 7}}') + "provider.shutdown()\n"
OTEL_JS = f"""
const SEVERITIES = [5, 9, 13, 17];
for (let i = 0; i < {RECORDS}; i++)
  logger.emit({{ severityNumber: SEVERITIES[i % 4], body: `record ${{i}}`, attributes: {{ n: i, user: {{ id: 7 }} }} }});
await provider.shutdown();
"""
# What a program does with the configuration: a thousand records, of every level in turn, each with its number.
USES = {
    "otel-python": OTEL_PYTHON,
    "otel-python-json": OTEL_PYTHON,
    "otel-js": OTEL_JS,
    "otel-js-json": OTEL_JS,
    "loki-python": LOG_IN_PYTHON.format(count=100, extra='{"tags": {"n": i}}'),
    "pino-loki": f"""
for (let i = 0; i < {RECORDS}; i++)
  logger[["debug", "info", "warn", "error"][i % 4]]({{ n: i, user: {{ id: 7 }} }}, `record ${{i}}`);
transport.end();
""",
    "winston-loki": f"""
for (let i = 0; i < {RECORDS}; i++)
  logger.log(["debug", "info", "warn", "error"][i % 4], `record ${{i}}`, {{ n: i, user: {{ id: 7 }} }});
await transport.flush();
process.exit(0);
""",
    "elasticsearch-python": f"""
import datetime

def document(i):
    now = datetime.datetime.now(datetime.timezone.utc).isoformat()
    level = ["debug", "info", "warning", "critical"][i % 4]
    return {{"_id": str(i), "@timestamp": now, "log": {{"level": level}}, "message": f"record {{i}}", "n": i}}

documents = [document(i) for i in range({RECORDS})]
assert write(documents) == ({RECORDS}, []), "all are stored"
# As after an answer that was lost.
assert write(documents) == ({RECORDS}, [])
""",
}


def call(method: str, path: str, headers: dict[str, str], body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(os.environ["API_URL"] + path, method=method, headers=headers, data=data)
    with urllib.request.urlopen(request, timeout=GIVE_UP_SECS) as answer:
        return json.load(answer)


class App:
    """An app of its own for each test."""

    def __init__(self):
        self.app_id = f"doors-{uuid.uuid4().hex[:12]}"
        body = {"app_id": self.app_id, "name": "doors"}
        self.key = call("POST", "/v1/apps", {"X-Admin-Key": os.environ["ADMIN_KEY"]}, body)["data"]["api_key"]

    def records(self, **filters) -> list[dict]:
        """All records, oldest first."""
        found, cursor = [], None
        while True:
            more = {"cursor": cursor} if cursor else {}
            query = urllib.parse.urlencode({"limit": 1000, "raw": "true", **filters, **more})
            page = call("GET", f"/v1/logs?{query}", {"X-API-Key": self.key})
            found += page["data"]
            cursor = page["cursor"]
            if cursor is None:
                return found[::-1]


@pytest.fixture
def app():
    return App()


def run(name: str, app: App, use: str = "") -> None:
    """Runs a configuration, and what a program does with it."""
    block = BLOCKS[name]
    code, language = block["code"] + use, block["language"]
    environment = {**os.environ, "LOGFERRY_URL": os.environ["API_URL"], "LOGFERRY_KEY": app.key}
    # Node.js looks for packages beside the program.
    suffix = {"python": "py", "js": "mjs", "sh": "sh"}[language]
    program = HERE / f".{name}-{app.app_id}.{suffix}"
    program.write_text(code)
    try:
        command = {"python": [sys.executable], "js": ["node"], "sh": ["bash", "-euo", "pipefail"]}[language]
        done = subprocess.run(
            [*command, program], env=environment, capture_output=True, text=True, timeout=GIVE_UP_SECS, check=False
        )
    finally:
        program.unlink()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "error" not in done.stderr.lower(), done.stderr


def number(record: dict) -> int:
    """The number that the program gave a record, where this client puts attributes."""
    raw = record["rawData"]
    members = record.get("context") or {}
    return int(members["n"] if "n" in members else raw["n"])


@pytest.mark.parametrize("name", USES)
def test_every_record_of_a_client_arrives_once_with_time_level_message_and_attributes(name, app):
    before = call("POST", "/v1/logs", {"X-API-Key": app.key}, {"level": "INFO", "message": "before"})["data"]
    run(name, app, USES[name])
    # One client sends a request for each record.
    count = 100 if name == "loki-python" else RECORDS
    after = call("POST", "/v1/logs", {"X-API-Key": app.key}, {"level": "INFO", "message": "after"})["data"]
    records = [record for record in app.records() if record["message"] not in ("before", "after")]
    by_number = sorted(records, key=number)
    assert [number(record) for record in by_number] == list(range(count))
    for i, record in enumerate(by_number):
        assert (record["message"], record["level"]) == (f"record {i}", LEVELS[i % 4])
        assert before["timestamp"] <= record["timestamp"] <= after["timestamp"]
        assert not {"timestampFallback", "levelUnknown"} & record.keys()
    times = [record["timestamp"] for record in by_number]
    assert times == sorted(times)
    assert "shop" in json.dumps(by_number[-1]), "the service, label or index"


def test_otlp_keeps_resource_scope_and_nested_attributes(app):
    run("otel-python", app, OTEL_PYTHON)
    record = next(record for record in app.records() if record["message"] == "record 7")
    assert record["context"]["user"] == {"id": 7}
    raw = record["rawData"]
    assert raw["resource"]["service.name"] == "shop"
    assert raw["severity_number"] == 17


def test_the_commands_of_the_page_store_what_they_send(app):
    run("firehose", app)
    run("firehose", app)
    assert [(record["level"], record["message"]) for record in app.records()] == [("WARN", "one"), ("ERROR", "two")]
    run("ndjson", app)
    assert len(app.records(search="from a container")) == 1
    assert [record["level"] for record in app.records(search="from pino")] == ["ERROR"]


def test_every_configuration_with_a_name_is_run():
    assert BLOCKS.keys() == {*USES, "firehose", "ndjson"}
