"""Gap: PutLogEvents accepts anything. On AWS it refuses batches that break its rules, and rejects
events that are too old, too new or past retention with indices in a 200. And a late batch merges its
whole stream, while no other request is answered.
Rules: https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html

For tests, poison on demand: a message that contains `poison:/poison/{name}` is refused as invalid while a log
group of that name exists."""

import bisect
import json
import operator
import re
import time

from ministack.core.responses import error_response_json
from ministack.services import cloudwatch_logs

MAX_EVENTS = 10_000
MAX_BATCH_BYTES = 1_048_576
EVENT_OVERHEAD_BYTES = 26
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
MAX_AGE_MS = 14 * DAY_MS
MAX_FUTURE_MS = 2 * HOUR_MS
_TIME = operator.itemgetter("timestamp")
POISON = re.compile(r"poison:(/poison/[A-Za-z0-9-]+)")


def refusal(events: list[dict]) -> str | None:
    """Why AWS would refuse the whole batch, or None."""

    def constraint(member: str, rule: str) -> str:
        return f"1 validation error detected: Value at '{member}' failed to satisfy constraint: Member must {rule}"

    if not events:
        return constraint("logEvents", "have length greater than or equal to 1")
    if len(events) > MAX_EVENTS:
        return constraint("logEvents", f"have length less than or equal to {MAX_EVENTS}")
    if not all(event.get("message") for event in events):
        return constraint("logEvents.member.message", "have length greater than or equal to 1")
    size = sum(len(event["message"].encode()) + EVENT_OVERHEAD_BYTES for event in events)
    if size > MAX_BATCH_BYTES:
        return f"Upload too large: {size} bytes exceeds limit of {MAX_BATCH_BYTES}"
    times = [event["timestamp"] for event in events]
    if times != sorted(times):
        return "Log events in a single PutLogEvents request must be in chronological order."
    return None


def poisons(messages: list[str]) -> set[str]:
    """The log groups whose being there makes poison of one of the messages."""
    return {name for message in messages if "poison:" in message for name in POISON.findall(message)}


def rejected_ends(times: list[int], now_ms: int, retention_days: int | None) -> tuple[int, int, int]:
    """For times in order: the ends of the too old and of the expired, the start of the too new."""
    too_old = sum(time < now_ms - MAX_AGE_MS for time in times)
    expired = sum(time < now_ms - retention_days * DAY_MS for time in times) if retention_days else 0
    too_new = sum(time <= now_ms + MAX_FUTURE_MS for time in times)
    return too_old, expired, too_new


def merge(history: list[dict], late: list[dict]) -> None:
    """Puts events into a stream in the order of their times, after those of the same time.

    Only the part of the stream between the times of `late` is sorted: a batch for a stream of a million events
    takes milliseconds, not a second."""
    begin = bisect.bisect_right(history, _TIME(late[0]), key=_TIME)
    end = bisect.bisect_right(history, _TIME(late[-1]), begin, key=_TIME)
    history[begin:end] = sorted(history[begin:end] + late, key=_TIME)


def _append(stream: dict, events: list[dict]) -> None:
    if not events:
        return
    with cloudwatch_logs._log_events_lock:
        history = stream["events"]
        merge(history, sorted(events, key=_TIME))
        stream["firstEventTimestamp"], stream["lastEventTimestamp"] = _TIME(history[0]), _TIME(history[-1])
        stream["lastIngestionTime"] = events[-1]["ingestionTime"]


def apply() -> None:
    cloudwatch_logs._append_log_events = _append
    put = cloudwatch_logs._put_log_events

    def patched_put(data):
        events = data.get("logEvents") or []
        problem = refusal(events)
        if problem:
            return error_response_json("InvalidParameterException", problem, 400)
        if any(name in cloudwatch_logs._log_groups for name in poisons([event["message"] for event in events])):
            return error_response_json("InvalidParameterException", "A log event is poison.", 400)
        group = cloudwatch_logs._log_groups.get(data.get("logGroupName")) or {}
        times = [event["timestamp"] for event in events]
        now_ms = int(time.time() * 1000)
        too_old, expired, too_new = rejected_ends(times, now_ms, group.get("retentionInDays"))
        kept = events[max(too_old, expired) : too_new]
        if kept and kept[-1]["timestamp"] - kept[0]["timestamp"] > DAY_MS:
            span = "The batch of log events in a single PutLogEvents request cannot span more than 24 hours."
            return error_response_json("InvalidParameterException", span, 400)
        status, headers, body = put({**data, "logEvents": kept})
        rejected = {}
        if too_old:
            rejected["tooOldLogEventEndIndex"] = too_old
        if expired:
            rejected["expiredLogEventEndIndex"] = expired
        if too_new < len(events):
            rejected["tooNewLogEventStartIndex"] = too_new
        if rejected and status == 200:
            body = json.dumps({**json.loads(body), "rejectedLogEventsInfo": rejected}).encode()
            headers = {name: value for name, value in headers.items() if name.lower() != "content-length"}
        return status, headers, body

    cloudwatch_logs._put_log_events = patched_put
