"""Alarms watch metrics that exist, with the dimensions that they are emitted with; the dashboard shows them all."""

import functools
import json
import re

import pytest
from expanded import Stack

from stack.settings import FUNCTIONS, ROOT

# Metrics of AWS services, with their dimensions.
# https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
# https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-metrics.html
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/metrics-dimensions.html
OF_AWS = {
    ("AWS/Lambda", "FunctionName"): {
        "DestinationDeliveryFailures", "Errors", "Invocations", "IteratorAge", "Throttles",
    },
    ("AWS/Lambda", "EventSourceMappingUUID"): {"DroppedEventCount", "OnFailureDestinationDeliveredEventCount"},
    ("AWS/ApiGateway", "ApiId"): {"5xx", "Count", "Latency"},
    ("AWS/SQS", "QueueName"): {
        "ApproximateAgeOfOldestMessage", "ApproximateNumberOfMessagesVisible", "NumberOfMessagesSent",
    },
    ("AWS/DynamoDB", "TableName"): {"WriteThrottleEvents"},
}  # fmt: skip
STACK = Stack()
ALARMS = STACK.of_type("AWS::CloudWatch::Alarm")
NAMESPACE = "Logferry/one"


def watched(alarm: dict) -> list[tuple[str, str, tuple]]:
    """The metrics of an alarm: namespace, name, dimensions."""
    metrics = [part["MetricStat"]["Metric"] for part in alarm.get("Metrics", []) if "MetricStat" in part] or [alarm]
    return [
        (
            metric["Namespace"],
            metric["MetricName"],
            tuple((d["Name"], d["Value"]) for d in metric.get("Dimensions", [])),
        )
        for metric in metrics
    ]


def shown() -> set[tuple[str, str, tuple]]:
    """The metrics that the dashboard draws."""
    found = set()
    for widget in json.loads(STACK.resources["Dashboard"]["Properties"]["DashboardBody"])["widgets"]:
        before = []
        for metric in widget["properties"].get("metrics", []):
            words = [part for part in metric if isinstance(part, str)]
            if words:
                # "..." stands for what the metric before has at the same places.
                if words[0] == "...":
                    words = before[: len(before) - len(words) + 1] + words[1:]
                before = words
                found.add((words[0], words[1], tuple(zip(words[2::2], words[3::2], strict=True))))
    return found


BRACKETS = r"\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)"
EMISSION = re.compile(rf"Emission::new{BRACKETS}((?:\s*\.dimension{BRACKETS})*)")


@functools.cache
def emitted() -> set[tuple[str, tuple[str, ...]]]:
    """The metrics that the code emits, each with the names of its dimensions."""
    catalogue = (ROOT / "shared" / "service" / "src" / "metrics.rs").read_text()
    names = dict(re.findall(r'(\w+) = "(\w+)", ', catalogue))  # by constant
    found = set()
    for path in [*(ROOT / "functions").glob("*/src/*.rs"), ROOT / "shared" / "service" / "src" / "door.rs"]:
        text = path.read_text().split("#[cfg(test)]\nmod")[0]
        # A closure that begins emissions stands for what it returns.
        for closure, begun in re.findall(r"let (\w+) = \|\| (Emission::new[^;]*);", text):
            text = text.replace(f"{closure}()", begun)
        for emission in re.split(r"(?=Emission::new\()", text)[1:]:
            dimensions = re.findall(r'\.dimension\(\s*"(\w+)"', EMISSION.match(emission)[0])
            words = re.findall(r"\b[A-Z_]+\b", emission)
            found |= {(names[word], tuple(dimensions)) for word in words if word in names}
    return found


def exists(metric: tuple[str, str, tuple]) -> bool:
    namespace, name, dimensions = metric
    keys = tuple(key for key, _ in dimensions)
    if namespace == NAMESPACE:
        return (name, keys) in emitted()
    return len(keys) == 1 and name in OF_AWS.get((namespace, keys[0]), set())


EVERY_ALARM = Stack(RecordMetrics="true", ErrorAlarmApp="shop").of_type("AWS::CloudWatch::Alarm")


@pytest.mark.parametrize("name", EVERY_ALARM)
def test_an_alarm_watches_metrics_that_exist_with_these_dimensions(name):
    for metric in watched(EVERY_ALARM[name]):
        assert exists(metric), metric


@pytest.mark.parametrize(
    "metric",
    [
        ("AWS/Lambda", "Errors", (("TableName", "x"),)),
        ("AWS/Lambda", "Errors", ()),
        ("AWS/Lambda", "IteratorAge", (("EventSourceMappingUUID", "x"),)),
        (NAMESPACE, "FilesFailed", (("App", "x"),)),
        (NAMESPACE, "ChecksDown", ()),
        (NAMESPACE, "Records", (("App", "x"),)),
        (NAMESPACE, "FilesLost", ()),
    ],
)
def test_a_metric_without_such_a_dimension_is_found(metric):
    assert not exists(metric)


def test_the_dimensions_of_metrics_are_read_from_the_code():
    of = {name: {dimensions for other, dimensions in emitted() if other == name} for name, _ in emitted()}
    assert of["FilesFailed"] == {()}
    assert of["ChecksDown"] == of["ProbeLatency"] == {("App",), ("App", "Url")}
    assert of["Records"] == {("App", "Level")}


def test_the_dashboard_shows_every_metric_that_an_alarm_watches_and_none_that_does_not_exist():
    drawn = shown()
    for name, alarm in ALARMS.items():
        assert set(watched(alarm)) <= drawn, name
    for metric in drawn:
        assert exists(metric), metric


def test_the_dashboard_is_one_that_cloudwatch_does_not_charge_for():
    # https://aws.amazon.com/cloudwatch/pricing/: up to 50 metrics. The searches of health are not among them: without
    # apps that register URLs they find none.
    assert len(shown()) <= 50


def test_the_dashboard_shows_the_state_of_every_alarm():
    [widget] = [
        widget
        for widget in json.loads(STACK.resources["Dashboard"]["Properties"]["DashboardBody"])["widgets"]
        if widget["type"] == "alarm"
    ]
    arns = {STACK.resolve({"Fn::GetAtt": [name, "Arn"]}) for name in ALARMS}
    assert set(widget["properties"]["alarms"]) == arns


def test_every_alarm_notifies_when_it_begins_and_when_it_ends():
    topic = STACK.resolve({"Ref": "AlertsTopic"})
    for name, alarm in ALARMS.items():
        assert alarm["AlarmActions"] == alarm["OKActions"] == [topic], name


def test_an_alarm_about_missing_runs_breaches_without_data_and_no_other_does():
    silent = {name for name, alarm in ALARMS.items() if alarm["TreatMissingData"] == "breaching"}
    assert silent == {"SweepSilentAlarm", "HealthSilentAlarm"}


@pytest.mark.parametrize(
    ("minutes", "period_secs", "periods"), [("1", 300, "1"), ("5", 300, "5"), ("60", 300, "60"), ("1440", 86_400, 1)]
)
def test_a_silent_health_is_noticed_after_five_runs_or_a_day(minutes, period_secs, periods):
    alarm = Stack(HealthScheduleMinutes=minutes).resources["HealthSilentAlarm"]["Properties"]
    assert (alarm["Period"], alarm["EvaluationPeriods"]) == (period_secs, periods)


def test_throttles_of_every_function_raise_one_alarm():
    functions = {dict(dimensions)["FunctionName"] for _, _, dimensions in watched(ALARMS["ThrottlesAlarm"])}
    assert functions == {f"one-{name.capitalize()}Function" for name in FUNCTIONS}


def test_an_alarm_lasts_no_longer_than_cloudwatch_evaluates():
    # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html: a day.
    for minutes in ("1", "5", "240"):
        for alarm in Stack(SweepScheduleMinutes=minutes).of_type("AWS::CloudWatch::Alarm").values():
            assert int(alarm.get("Period", 300)) * int(alarm["EvaluationPeriods"]) <= 86_400


def test_the_operations_page_says_what_to_do_for_every_alarm():
    page = (ROOT / "docs" / "operations.md").read_text()
    section = page.split("## Alarms, and what to do")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (\w+) \|", section, re.MULTILINE)
    alarms = Stack(RecordMetrics="true", ErrorAlarmApp="shop").of_type("AWS::CloudWatch::Alarm")
    assert sorted(rows[1:]) == sorted(name.removesuffix("Alarm") for name in alarms)
