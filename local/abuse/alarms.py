"""Evaluates the stack's alarms: reads their metrics from the functions' own logs."""

import collections
import json

from client import aws


def metrics(env: dict[str, str], since_ms: int) -> dict[str, list[float]]:
    """Returns all values of each metric that the functions emitted, with any dimensions."""
    logs, values = aws(env, "logs"), collections.defaultdict(list)
    for function in (name for name in env if name.startswith("FN_")):
        try:
            pages = logs.get_paginator("filter_log_events").paginate(
                logGroupName=f"/aws/lambda/{env[function]}", startTime=since_ms
            )
            lines = [event["message"] for page in pages for event in page["events"]]
        except logs.exceptions.ResourceNotFoundException:
            continue
        for line in lines:
            for name, value in _emitted(line):
                values[name].append(value)
    return values


def false_alarms(env: dict[str, str], since_ms: int) -> list[str]:
    """Returns the alarms that would be raised although the service works."""
    found = []
    seen = metrics(env, since_ms)
    for name in ("EventsDeadLettered", "FilesFailed", "RequestErrors", "NotificationsFailed"):
        if sum(seen.get(name, [])) > 0:
            found.append(f"{name} is {sum(seen[name]):.0f}")
    oldest = max(seen.get("SweepOldestDueAge", [0]))
    if oldest > 0 and len(seen["SweepOldestDueAge"]) > 1 and seen["SweepOldestDueAge"][-1] > 0:
        found.append(f"the oldest due work is {seen['SweepOldestDueAge'][-1]:.0f} s old at the end")
    queue = aws(env, "sqs").get_queue_attributes(
        QueueUrl=env["DEAD_LETTERS_URL"], AttributeNames=["ApproximateNumberOfMessages"]
    )
    waiting = int(queue["Attributes"]["ApproximateNumberOfMessages"])
    if waiting:
        found.append(f"{waiting} events are in the dead-letter queue")
    given_up = aws(env, "s3").list_objects_v2(Bucket=env["FAILURE_BUCKET"], Prefix="aws/lambda/")
    if given_up["KeyCount"]:
        found.append(f"{given_up['KeyCount']} batches of flush were given up")
    return found


def _emitted(line: str):
    if '"CloudWatchMetrics"' not in line:
        return
    try:
        emission = json.loads(line[line.index("{") :])
        for directive in emission["_aws"]["CloudWatchMetrics"]:
            for metric in directive["Metrics"]:
                value = emission[metric["Name"]]
                for one in value if isinstance(value, list) else [value]:
                    yield metric["Name"], float(one)
    except (ValueError, KeyError):
        return
