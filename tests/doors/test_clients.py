"""The configurations of docs/integrations.md, run as they stand, by the real clients on the local stack."""

import base64
import gzip
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

import pytest
from proxy import Proxy

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
    # In a page of jsdom, which has neither fetch nor beacons. The answers of every third request are lost, and the
    # page is left before the last entries are sent.
    "chime": f"""
import {{ JSDOM }} from "jsdom";

const page = new JSDOM("", {{ url: "https://meet.example.com/" }}).window;
globalThis.window = page;
Object.defineProperty(globalThis, "navigator", {{ value: page.navigator }});
const send = globalThis.fetch;
let requests = 0;
globalThis.fetch = async (...request) => {{
  const answer = await send(...request);
  if (requests++ % 3 === 1) throw new Error("lost");
  return answer;
}};
console.warn = () => {{}};
const beacons = [];
const beacon = (url, body) => send(url, {{ method: "POST", body }}).catch(() => ({{ ok: true }}));
page.navigator.sendBeacon = (url, body) => beacons.push(beacon(url, body));
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
logger.stop();
beacons.pop();
logger.intervalMs = 50;
logger.start();
for (let i = 0; i < {RECORDS}; i++) {{
  logger[["debug", "info", "warn", "error"][i % 4]](`record ${{i}}`);
  if (i % 100 === 0) await pause(60);
}}
await pause(300);
page.dispatchEvent(new page.Event("unload"));
if (beacons.length !== 1) throw new Error("the page was left without a beacon");
for (const answer of await Promise.all(beacons)) if (!answer.ok) throw new Error(await answer.text());
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


def until(what: str, found):
    """What `found` returns once it is not None."""
    give_up = time.monotonic() + GIVE_UP_SECS
    while (result := found()) is None:
        assert time.monotonic() < give_up, f"waiting for {what}"
        time.sleep(0.2)
    return result


def run(name: str, app: App, use: str = "", url: str = "", may_complain: bool = False) -> None:
    """Runs a configuration, and what a program does with it."""
    block = BLOCKS[name]
    code, language = block["code"] + use, block["language"]
    environment = {
        **os.environ,
        "LOGFERRY_URL": url or os.environ["API_URL"],
        "LOGFERRY_KEY": app.key,
    }
    # Node.js looks for packages beside the program.
    suffix = {"python": "py", "js": "mjs", "sh": "sh"}[language]
    program = HERE / f".{name}-{app.app_id}.{suffix}"
    program.write_text(code)
    try:
        command = {
            "python": [sys.executable],
            "js": ["node"],
            "sh": ["bash", "-euo", "pipefail"],
        }[language]
        done = subprocess.run(
            [*command, program],
            env=environment,
            capture_output=True,
            text=True,
            timeout=GIVE_UP_SECS,
            check=False,
        )
    finally:
        program.unlink()
    assert done.returncode == 0, done.stdout + done.stderr
    assert may_complain or "error" not in done.stderr.lower(), done.stderr


def number(record: dict) -> int:
    """The number that the program gave a record, where this client puts attributes."""
    raw = record["rawData"]
    members = record.get("context") or {}
    for place in (members, raw):
        if "n" in place:
            return int(place["n"])
    return int(record["message"].removeprefix("record "))


# The ids of the records of each app that a test has filled.
STORED: dict[str, list[str]] = {}


def check_records(app: App, count: int, before: dict, after: dict) -> None:
    """Every record is there once, with its time, level and message."""
    everything = app.records()
    STORED[app.app_id] = sorted(record["id"] for record in everything)
    by_number = sorted(
        (record for record in everything if record["message"] not in ("before", "after")),
        key=number,
    )
    assert [number(record) for record in by_number] == list(range(count))
    for i, record in enumerate(by_number):
        assert (record["message"], record["level"]) == (f"record {i}", LEVELS[i % 4])
        assert before["timestamp"] <= record["timestamp"] <= after["timestamp"]
        assert not {"timestampFallback", "levelUnknown"} & record.keys()
    times = [record["timestamp"] for record in by_number]
    assert times == sorted(times)
    assert "shop" in json.dumps(by_number[-1]), "the service, label or index"


def mark(app: App, message: str) -> dict:
    return call(
        "POST",
        "/v1/logs",
        {"X-API-Key": app.key},
        {"level": "INFO", "message": message},
    )["data"]


# One client sends a request for each record.
COUNTS = {"loki-python": 100}


@pytest.mark.parametrize("name", USES)
def test_every_record_of_a_client_arrives_once_with_time_level_message_and_attributes(name, app):
    before = mark(app, "before")
    run(name, app, USES[name])
    check_records(app, COUNTS.get(name, RECORDS), before, mark(app, "after"))


@pytest.mark.parametrize("name", USES)
def test_a_client_whose_first_answer_is_lost_stores_every_record_once(name, app):
    before = mark(app, "before")
    with Proxy(os.environ["API_URL"], answers_to_lose=1) as proxy:
        run(name, app, USES[name], url=proxy.url, may_complain=True)
        assert proxy.lost == 1
    check_records(app, COUNTS.get(name, RECORDS), before, mark(app, "after"))


def test_a_bulk_request_is_recognised_as_a_whole_and_not_by_its_documents(app):
    # The helper sends 500 documents in a request.
    run("elasticsearch-python", app, USES["elasticsearch-python"] + "write(documents[:500])\nwrite(documents[:100])\n")
    numbers = sorted(number(record) for record in app.records())
    assert numbers == sorted([*range(RECORDS), *range(100)])


@pytest.mark.skipif("OTEL_RUST" not in os.environ, reason="`make otel-rust` compiles the SDK for Rust")
@pytest.mark.parametrize("answers_to_lose", [0, 1])
@pytest.mark.parametrize("protocol", ["protobuf", "json"])
def test_every_record_of_the_sdk_for_rust_arrives_once(protocol, answers_to_lose, app):
    before = mark(app, "before")
    with Proxy(os.environ["API_URL"], answers_to_lose) as proxy:
        environment = {**os.environ, "LOGFERRY_URL": proxy.url, "LOGFERRY_KEY": app.key}
        subprocess.run(
            [os.environ["OTEL_RUST"], protocol], env=environment, timeout=GIVE_UP_SECS, check=not answers_to_lose
        )
        assert proxy.lost == answers_to_lose
    check_records(app, RECORDS, before, mark(app, "after"))


def test_the_program_in_rust_has_the_configuration_of_the_page():
    program = [line.strip() for line in (HERE / "otel-rust" / "src" / "main.rs").read_text().splitlines()]
    for line in BLOCKS["otel-rust"]["code"].splitlines():
        assert line.strip() in program, line


@pytest.mark.parametrize("answers_to_lose", [0, 1])
def test_every_record_of_rsyslog_arrives_and_once_if_no_answer_is_lost(answers_to_lose, app, tmp_path):
    unpacked = pathlib.Path(os.environ["DEBIAN_PACKAGES"])
    own = unpacked / "usr" / "sbin" / "rsyslogd"
    program = own if own.exists() else shutil.which("rsyslogd")
    if not program:
        pytest.skip("Debian's rsyslog is not there")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    configuration = tmp_path / "rsyslog.conf"
    configuration.write_text(
        f'global(workDirectory="{tmp_path}")\nmodule(load="imptcp")\n'
        f'input(type="imptcp" address="127.0.0.1" port="{port}")\n' + BLOCKS["rsyslog"]["code"]
    )
    libraries = list(unpacked.glob("usr/lib/*-linux-gnu"))
    modules = [option for folder in libraries for option in ("-M", folder / "rsyslog")] if own.exists() else []
    before = mark(app, "before")
    with Proxy(os.environ["API_URL"], answers_to_lose) as proxy:
        environment = {**os.environ, "LOGFERRY_URL": proxy.url, "LOGFERRY_KEY": app.key}
        environment["LD_LIBRARY_PATH"] = ":".join(map(str, libraries))
        daemon = subprocess.Popen([program, "-n", "-iNONE", *modules, "-f", configuration], env=environment)
        try:

            def connected():
                try:
                    return socket.create_connection(("127.0.0.1", port))
                except ConnectionRefusedError:
                    return None

            with until("rsyslog", connected) as connection:
                for i in range(RECORDS):
                    now = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime()) + f"{time.time() % 1:.6f}"[2:] + "Z"
                    severity = [7, 6, 4, 3][i % 4]
                    connection.sendall(f"<{8 + severity}>1 {now} host shop - - - record {i}\n".encode())
            # With the one before.
            until("the records", lambda: len({record["message"] for record in app.records()}) > RECORDS or None)
        finally:
            daemon.terminate()
            daemon.wait(timeout=GIVE_UP_SECS)
        assert proxy.lost == answers_to_lose
    if answers_to_lose:
        # A retry is in other batches.
        numbers = {number(record) for record in app.records() if record["message"] != "before"}
        assert numbers == set(range(RECORDS))
    else:
        check_records(app, RECORDS, before, mark(app, "after"))


def aws(service: str, path: str, headers: dict[str, str], request: dict) -> dict:
    """A call to the emulator, which knows the service by the credential."""
    scope = f"{os.environ['AWS_ACCESS_KEY_ID']}/20260101/{os.environ['AWS_REGION']}/{service}/aws4_request"
    signed = {"Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0", **headers}
    url, data = os.environ["AWS_ENDPOINT_URL"] + path, json.dumps(request).encode()
    called = urllib.request.Request(url, method="POST", headers=signed, data=data)
    with urllib.request.urlopen(called, timeout=GIVE_UP_SECS) as answer:
        return json.loads(answer.read() or "null")


def logs(operation: str, **request) -> dict:
    headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": f"Logs_20140328.{operation}"}
    return aws("logs", "", headers, request)


def forwarded(app_id: str) -> list[str]:
    """The ids of an app's records in CloudWatch Logs."""
    try:
        events, request = [], {"logGroupName": f"/logferry/{app_id}"}
        while True:
            page = logs("FilterLogEvents", **request)
            events += page["events"]
            if not page.get("nextToken"):
                return sorted(json.loads(event["message"])["logId"] for event in events)
            request["nextToken"] = page["nextToken"]
    except urllib.error.HTTPError as error:
        if b"ResourceNotFoundException" in error.read():
            return []
        raise


def test_what_the_clients_before_have_stored_is_in_cloudwatch_logs_each_record_once():
    assert STORED, "the tests above come first"
    for app_id, ids in STORED.items():

        def all_of_them(app_id=app_id, ids=ids):
            found = forwarded(app_id)
            return found if len(found) >= len(ids) else None

        sent = until(f"{len(ids)} records", all_of_them)
        assert sent == ids, app_id


def subscribed(group: str) -> list[dict]:
    """The records of the events of a log group, oldest first."""
    query = urllib.parse.urlencode({"app_id": "local", "limit": 1000, "context.logGroup": group})
    return call("GET", f"/v1/logs?{query}", {"X-Admin-Key": os.environ["ADMIN_KEY"]})["data"][::-1]


def test_events_of_a_subscribed_log_group_become_records_once_also_when_they_are_delivered_twice():
    # `make up` assigns such groups to this app (LOCAL_PARAMETERS), which an earlier run may have registered.
    try:
        call("POST", "/v1/apps", {"X-Admin-Key": os.environ["ADMIN_KEY"]}, {"app_id": "local", "name": "local"})
    except urllib.error.HTTPError as error:
        assert error.code == 409
    ingest, group = os.environ["FN_INGEST"], f"/local/{uuid.uuid4().hex}"
    logs("CreateLogGroup", logGroupName=group)
    logs("CreateLogStream", logGroupName=group, logStreamName="stream")
    arn = f"arn:aws:lambda:{os.environ['AWS_REGION']}:000000000000:function:{ingest}"
    logs("PutSubscriptionFilter", logGroupName=group, filterName="logferry", filterPattern="", destinationArn=arn)
    now = int(time.time() * 1000)

    def event(i: int) -> dict:
        level = LEVELS[i % 4].lower()
        return {"timestamp": now + i, "message": json.dumps({"level": level, "msg": f"record {i}", "n": i}) + "\n"}

    events = [event(i) for i in range(RECORDS)]
    for at in range(0, RECORDS, 250):
        logs("PutLogEvents", logGroupName=group, logStreamName="stream", logEvents=events[at : at + 250])
    until("the events of the filter", lambda: len(subscribed(group)) >= RECORDS or None)

    # The emulator delivers once. AWS may deliver an event again, with the same ids.
    other = f"{group}/again"
    payload = {
        "messageType": "DATA_MESSAGE",
        "owner": "000000000000",
        "logGroup": other,
        "logStream": "stream",
        "subscriptionFilters": ["logferry"],
        "logEvents": [{"id": f"{i:056}", **one} for i, one in enumerate(events)],
    }
    data = base64.b64encode(gzip.compress(json.dumps(payload).encode())).decode()
    for _ in range(2):
        delivered = aws("lambda", f"/2015-03-31/functions/{ingest}/invocations", {}, {"awslogs": {"data": data}})
        assert delivered == {"stored": RECORDS, "refused": 0}

    for each in (group, other):
        records = sorted(subscribed(each), key=lambda record: record["timestamp"])
        assert [record["message"] for record in records] == [f"record {i}" for i in range(RECORDS)]
        assert [record["level"] for record in records] == [LEVELS[i % 4] for i in range(RECORDS)]
        assert not any("timestampFallback" in record for record in records)
        assert {record["context"]["logStream"] for record in records} == {"stream"}
        ids = {record["id"] for record in records}

        def in_cloudwatch(ids=ids):
            found = [sent for sent in forwarded("local") if sent in ids]
            return found if len(found) >= RECORDS else None

        assert until("the records in CloudWatch Logs", in_cloudwatch) == sorted(ids)


def test_otlp_keeps_resource_scope_and_nested_attributes(app):
    run("otel-python", app, OTEL_PYTHON)
    record = next(record for record in app.records() if record["message"] == "record 7")
    assert record["context"]["user"] == {"id": 7}
    raw = record["rawData"]
    assert raw["resource"]["service.name"] == "shop"
    assert raw["severity_number"] == 17


def test_a_page_of_another_origin_may_read_the_answer_to_chimes_logger(app):
    body = json.dumps({"logs": [{"sequenceNumber": 0, "message": "x", "logLevel": "INFO"}]}).encode()
    headers = {
        "Origin": "https://meet.example.com",
        "Content-Type": "text/plain;charset=UTF-8",
    }
    url = f"{os.environ['API_URL']}/chime/logs?key={app.key}"
    with urllib.request.urlopen(urllib.request.Request(url, data=body, headers=headers)) as answer:
        assert answer.status == 200
        assert answer.headers["Access-Control-Allow-Origin"] in (
            "*",
            "https://meet.example.com",
        )
    asked = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    request = urllib.request.Request(url, method="OPTIONS", headers={"Origin": "https://meet.example.com", **asked})
    with urllib.request.urlopen(request) as answer:
        assert "POST" in answer.headers["Access-Control-Allow-Methods"]
        assert "authorization" in answer.headers["Access-Control-Allow-Headers"].lower()


def test_the_commands_of_the_page_store_what_they_send(app):
    run("firehose", app)
    run("firehose", app)
    assert [(record["level"], record["message"]) for record in app.records()] == [
        ("WARN", "one"),
        ("ERROR", "two"),
    ]
    run("ndjson", app)
    assert len(app.records(search="from a container")) == 1
    assert [record["level"] for record in app.records(search="from pino")] == ["ERROR"]


def test_every_configuration_with_a_name_is_run():
    assert BLOCKS.keys() == {*USES, "firehose", "ndjson", "otel-rust", "rsyslog"}
