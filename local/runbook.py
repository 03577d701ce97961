"""Runs the commands of the runbook in docs/operations.md on a local stack, each section with what it is about: a
message in the dead-letter queue, a file that ended FAILED, a dead letter of flush; and those of docs/integrations.md
that subscribe a log group. Each must succeed, and do what its section says.
LOGFERRY_LOCAL_ENV names the stack's local.env, by default that of `make up`. Deletes all messages of the queue."""

import gzip
import json
import re
import sys
import time
import urllib.request

import client
import commands
from stack.settings import ROOT, local_env, local_env_path

OPERATIONS, INTEGRATIONS = "docs/operations.md", "docs/integrations.md"
# Not the app of docs/api.md, whose commands run before these.
APP, KEY = "runbook", "logs/runbook/truncated.json.gz"
# The page's placeholders.
PLACEHOLDERS = {"logs/shop/…": KEY, "app_id=shop": f"app_id={APP}", "--app shop": f"--app {APP}"}
GIVE_UP_SECS = 60
LOG_GROUP = "/aws/lambda/shop-api"
MESSAGE = '{"requestPayload": "of the runbook"}'


def block_of(page: str, title: str) -> str:
    section = page.split(f"\n## {title}\n")[1].split("\n## ")[0]
    [block] = re.findall(r"(?ms)^```sh\n(.*?)^```", section)
    for placeholder, value in PLACEHOLDERS.items():
        block = block.replace(placeholder, value)
    return block.replace(".logferry/local.env", str(local_env_path()))


def request(env: dict[str, str], method: str, path: str, body: dict | None = None) -> dict:
    sent = urllib.request.Request(
        env["API_URL"] + path,
        method=method,
        data=json.dumps(body).encode() if body is not None else None,
        headers={"X-Admin-Key": env["ADMIN_KEY"], "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(sent, timeout=30) as answer:
        return json.load(answer)


def dead_message(env: dict[str, str]):
    """Puts a message into the dead-letter queue; returns what the commands must have done."""
    sqs = client.aws(env, "sqs")
    sqs.send_message(QueueUrl=env["DEAD_LETTERS_URL"], MessageBody=MESSAGE)

    def check(printed: str) -> None:
        if json.dumps(MESSAGE) not in printed:
            sys.exit(f"runbook: the message of the dead-letter queue was not printed, but {printed}")
        if sqs.receive_message(QueueUrl=env["DEAD_LETTERS_URL"], VisibilityTimeout=0).get("Messages"):
            sys.exit("runbook: the dead-letter queue is not empty")

    return check


def failed_file(env: dict[str, str]):
    """Puts a truncated file, and waits until it ended FAILED."""
    line = json.dumps({"level": "info", "time": int(time.time() * 1000), "msg": "x" * 200}).encode() + b"\nbad line {\n"
    client.aws(env, "s3").put_object(Bucket=env["BUCKET"], Key=KEY, Body=gzip.compress(line * 2000)[:-20])
    deadline = time.monotonic() + GIVE_UP_SECS
    while KEY not in json.dumps(request(env, "GET", "/files?status=FAILED")):
        if time.monotonic() > deadline:
            sys.exit(f"runbook: {KEY} did not end FAILED within {GIVE_UP_SECS} s")
        time.sleep(0.5)
    return lambda _: None


def dead_letter(env: dict[str, str]):
    """Puts a dead letter of flush; the commands must have sent and removed it."""
    s3, prefix = client.aws(env, "s3"), f"dead-letters/{APP}/"
    line = {
        "group": f"/logferry/{APP}", "stream": "runbook", "timestamp": int(time.time() * 1000),
        "message": '{"logId": "01"}', "reason": "REFUSED", "detail": "of the runbook", "sequenceNumber": "1",
    }  # fmt: skip
    key = f"{prefix}{time.strftime('%Y-%m-%d', time.gmtime())}/3/1-000000.jsonl"
    s3.put_object(Bucket=env["FAILURE_BUCKET"], Key=key, Body=json.dumps(line) + "\n")

    def check(_: str) -> None:
        if s3.list_objects_v2(Bucket=env["FAILURE_BUCKET"], Prefix=prefix).get("KeyCount"):
            sys.exit(f"runbook: {key} is still in the failure bucket")

    return check


def log_group(env: dict[str, str]):
    """Creates the log group of the page; the commands must have subscribed it to the function."""
    logs = client.aws(env, "logs")
    logs.create_log_group(logGroupName=LOG_GROUP)

    def check(_: str) -> None:
        found = logs.describe_subscription_filters(logGroupName=LOG_GROUP)["subscriptionFilters"]
        logs.delete_log_group(logGroupName=LOG_GROUP)
        if [one["destinationArn"].split(":")[-1] for one in found] != [env["FN_INGEST"]]:
            sys.exit(f"runbook: {LOG_GROUP} should send to {env['FN_INGEST']}, and has {found}")

    return check


# The sections with commands, by page and title, each with what prepares it.
SECTIONS = {
    (OPERATIONS, "Dead-letter queue"): dead_message,
    (OPERATIONS, "Failed files"): failed_file,
    (OPERATIONS, "Dead letters of flush"): dead_letter,
    (INTEGRATIONS, "CloudWatch Logs"): log_group,
}


def main() -> int:
    env = local_env()
    request(env, "POST", "/apps", {"app_id": APP, "name": "Runbook"})
    try:
        for (page, title), prepare in SECTIONS.items():
            check = prepare(env)
            done = commands.run(block_of((ROOT / page).read_text(), title), f"{page}, {title}", env)
            check(done.stdout)
    finally:
        request(env, "DELETE", f"/apps/{APP}")
    print(*(f"the commands of {page}, {title} succeeded" for page, title in SECTIONS), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
