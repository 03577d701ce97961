"""Runs the commands of *Failed files* in docs/operations.md on a local stack, with a file that ended FAILED; each must
succeed. LOGFERRY_LOCAL_ENV names the stack's local.env, by default that of `make up`."""

import gzip
import json
import re
import sys
import time
import urllib.request

import client
import commands
from stack.settings import ROOT, local_env

# Not the app of docs/api.md, whose commands run before these.
APP, KEY = "runbook", "logs/runbook/truncated.json.gz"
# The page's placeholder for a key.
PLACEHOLDER = "logs/shop/…"
GIVE_UP_SECS = 60


def block_of(page: str) -> str:
    section = page.split("\n## Failed files\n")[1].split("\n## ")[0]
    [block] = re.findall(r"(?ms)^```sh\n(.*?)^```", section)
    return block.replace(PLACEHOLDER, KEY).replace("app_id=shop", f"app_id={APP}")


def request(env: dict[str, str], method: str, path: str, body: dict | None = None) -> dict:
    sent = urllib.request.Request(
        env["API_URL"] + path,
        method=method,
        data=json.dumps(body).encode() if body is not None else None,
        headers={"X-Admin-Key": env["ADMIN_KEY"], "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(sent, timeout=30) as answer:
        return json.load(answer)


def failed_file(env: dict[str, str]) -> None:
    """Registers the app, puts a truncated file, and waits until it ended FAILED."""
    request(env, "POST", "/apps", {"app_id": APP, "name": "Runbook"})
    line = json.dumps({"level": "info", "time": int(time.time() * 1000), "msg": "x" * 200}).encode() + b"\nbad line {\n"
    client.aws(env, "s3").put_object(Bucket=env["BUCKET"], Key=KEY, Body=gzip.compress(line * 2000)[:-20])
    deadline = time.monotonic() + GIVE_UP_SECS
    while KEY not in json.dumps(request(env, "GET", "/files?status=FAILED")):
        if time.monotonic() > deadline:
            sys.exit(f"runbook: {KEY} did not end FAILED within {GIVE_UP_SECS} s")
        time.sleep(0.5)


def main() -> int:
    env = local_env()
    failed_file(env)
    block = block_of((ROOT / "docs" / "operations.md").read_text())
    try:
        commands.run(block, "the runbook", env)
    finally:
        request(env, "DELETE", f"/apps/{APP}")
    print(f"{block.count('curl ')} commands of the runbook succeeded")
    return 0


if __name__ == "__main__":
    sys.exit(main())
