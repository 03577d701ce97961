"""The test of a deployed stack names the functions that do not work."""

import http.server
import io
import threading

import boto3
import botocore.config
import pytest

from stack import smoke
from stack.settings import FUNCTIONS, Problem

OUTPUTS = {f"{name.capitalize()}FunctionName": f"logs-{name}" for name in FUNCTIONS}


class Functions:
    """A Lambda client whose `broken` functions end with an error."""

    def __init__(self, broken: set[str]):
        self.broken, self.invoked = broken, []

    def invoke(self, FunctionName: str, Payload: bytes) -> dict:
        self.invoked.append(FunctionName)
        if FunctionName in self.broken:
            error = b'{"errorType":"Runtime.InvalidEntrypoint"}'
            return {"FunctionError": "Unhandled", "Payload": io.BytesIO(error)}
        return {"Payload": io.BytesIO(b"{}")}


@pytest.fixture(autouse=True)
def answers(monkeypatch):
    """What the HTTP API answers, by path; without pauses between the attempts."""
    found = {"/apps": 401, "/presigned-url": 401}

    def requested(url, method, headers, expected):
        status = found[url.removeprefix("https://api")]
        return None if status in expected else f"{url} answered {status}"

    monkeypatch.setattr(smoke, "_requested", requested)
    monkeypatch.setattr(smoke, "PAUSE_SECS", 0)
    return found


def test_every_function_is_called():
    functions, lines = Functions(set()), []
    smoke.run(functions, OUTPUTS, "https://api", lines.append)
    assert {line.split()[0] for line in lines} == set(FUNCTIONS)
    assert set(functions.invoked) == {f"logs-{name}" for name in ("ingest", "flush", "rpc", "health", "sweep")}


def test_functions_that_do_not_start_are_named_with_their_error(answers):
    answers["/presigned-url"] = 500
    with pytest.raises(Problem) as problem:
        smoke.run(Functions({"logs-flush"}), OUTPUTS, "https://api", lambda line: None)
    assert 'flush: {"errorType":"Runtime.InvalidEntrypoint"}' in str(problem.value)
    assert "presign: https://api/presigned-url answered 500" in str(problem.value)
    assert "api:" not in str(problem.value).replace("https://api", "")


def test_a_custom_domain_without_a_dns_record_fails_nothing_and_says_which_record(monkeypatch):
    monkeypatch.setattr(smoke.socket, "getaddrinfo", raises(smoke.socket.gaierror))
    lines = []
    smoke.run(Functions(set()), OUTPUTS | {"ApiDomainTarget": "d-1.example"}, "https://logs.example", lines.append)
    assert "logs.example needs a DNS record to d-1.example" in lines[0]
    assert len(lines) == 1 + len(smoke.INVOKED)


def raises(kind):
    def function(*_):
        raise kind

    return function


def test_a_function_that_does_not_answer_in_time_is_a_problem_and_is_invoked_once_per_attempt():
    invoked = []

    class Slow(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            invoked.append(self.path)
            ended.wait()

        def log_message(self, *_):
            pass

    ended = threading.Event()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    patient = smoke.PATIENT.merge(botocore.config.Config(read_timeout=0.2))
    url = f"http://127.0.0.1:{server.server_port}"
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
    client = boto3.client("lambda", endpoint_url=url, config=patient, **keys)
    assert "Read timeout" in smoke._invoked(client, "logs-sweep", {})
    assert len(invoked) == 1
    ended.set()
    server.shutdown()
