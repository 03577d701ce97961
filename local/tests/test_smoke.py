"""The test of a deployed stack names the functions that do not work."""

import io

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
