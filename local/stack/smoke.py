"""A short test of a deployed stack: every function starts and answers. It changes nothing but what a scheduled run of
sweep and of health would."""

import json
import socket
import time
import urllib.error
import urllib.parse
import urllib.request

import botocore.config
import botocore.exceptions

from .settings import ROOT, Problem

TRIES, PAUSE_SECS = 3, 5
# For the client of Lambda: sweep and health run for up to 270 s, and once is enough.
PATIENT = botocore.config.Config(read_timeout=300, retries={"total_max_attempts": 1})


def _sample(name: str) -> dict:
    return json.loads((ROOT / "events" / name).read_text())


# Events that a function answers without any work. Health and sweep run as on their schedule.
INVOKED = {
    "ingest": _sample("ingest/s3-test-event.json"),
    "flush": {"Records": []},
    "rpc": {"method": "query", "app_id": "smoke-test", "filters": {"limit": 1}},
    "health": _sample("health/scheduled.json"),
    "sweep": _sample("sweep/scheduled.json"),
}
# A request with a wrong credential, and its answers: the function runs and may read the secret. An error is a 500.
REQUESTED = {
    "api": ("GET", "/apps", {"X-Admin-Key": "smoke-test"}, {401, 403}),
    "presign": ("POST", "/presigned-url", {"Authorization": "Bearer smoke.test.token"}, {400, 401}),
}


def run(lambda_client, outputs: dict[str, str], api_url: str, report=print) -> None:
    """Raises `Problem` with every function that did not answer."""
    failed, requested = [], REQUESTED
    host = urllib.parse.urlsplit(api_url).hostname
    if "ApiDomainTarget" in outputs and not _has_record(host):
        report(f"  {' and '.join(requested)} not tested: {host} needs a DNS record to {outputs['ApiDomainTarget']}")
        requested = {}
    for name, (method, path, *rest) in requested.items():
        problem = _retried(lambda m=method, p=path, r=rest: _requested(f"{api_url}{p}", m, *r))
        report(f"  {name:<8} {problem or 'answers'}")
        failed += [f"{name}: {problem}"] if problem else []
    for name, event in INVOKED.items():
        function = outputs[f"{name.capitalize()}FunctionName"]
        problem = _retried(lambda f=function, e=event: _invoked(lambda_client, f, e))
        report(f"  {name:<8} {problem or 'answers'}")
        failed += [f"{name}: {problem}"] if problem else []
    if failed:
        raise Problem(
            "the stack is deployed, but not all functions work:\n  "
            + "\n  ".join(failed)
            + "\nTheir log groups show the cause. To go back, deploy the version before (docs/upgrading.md)."
        )


def _retried(attempt) -> str | None:
    """A permission or a route of a new stack may take seconds to be in force."""
    problem = attempt()
    for _ in range(TRIES - 1):
        if problem is None:
            return None
        time.sleep(PAUSE_SECS)
        problem = attempt()
    return problem


def _has_record(host: str) -> bool:
    try:
        socket.getaddrinfo(host, 443)
    except socket.gaierror:
        return False
    return True


def _requested(url: str, method: str, headers: dict[str, str], expected: set[int]) -> str | None:
    body = b"{}" if method == "POST" else None
    request = urllib.request.Request(url, method=method, headers=headers, data=body)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            status = answer.status
    except urllib.error.HTTPError as error:
        status = error.code
    except OSError as error:
        return f"{url}: {error}"
    return None if status in expected else f"{method} {url} answered {status}"


def _invoked(lambda_client, function: str, event: dict) -> str | None:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    payload = {**event, "time": now} if "time" in event else event
    try:
        answer = lambda_client.invoke(FunctionName=function, Payload=json.dumps(payload).encode())
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
        return str(error)
    if answer.get("FunctionError"):
        return answer["Payload"].read().decode(errors="replace")[:300]
    return None
