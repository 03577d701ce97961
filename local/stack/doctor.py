"""`make doctor`, second part: what a deployment lacks. It changes nothing.

Every check of an AWS service may be denied to the caller; it then says so and counts as a note."""

import datetime
import email.utils
import json
import os
import urllib.error
import urllib.request

import boto3
import botocore.exceptions

from doctor import Finding, judged

from . import aws, deploy, settings, states, template

# A signed request is refused if its time differs by more than 5 minutes.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html
MAX_SKEW_SECS = 300
# From here on, tokens and the times of records are visibly wrong.
NOTED_SKEW_SECS = 5
DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError")
# An API key begins with its id.
KEY_ID_CHARS = 16
# States of a rule and of an event source mapping that process events, or will at once.
RUNS = ("ENABLED", "ENABLING", "UPDATING", "CREATING")
RAISE_QUOTA = (
    "raise it before production: aws service-quotas request-service-quota-increase --service-code lambda "
    "--quota-code L-B99A9384 --desired-value 1000"
)


def diagnose(environment=os.environ, session=None) -> list[Finding]:
    """Checks the region, the credentials, the clock, the account and the stack, in this order."""
    session = session or boto3.session.Session(region_name=environment.get("AWS_REGION") or None)
    if not session.region_name:
        return [Finding("missing", "region", "set AWS_REGION, such as AWS_REGION=eu-west-1")]
    stack = environment.get("STACK_NAME") or settings.STACK_NAME
    found = [Finding("ok", "region", session.region_name)]
    found += credentials(session)
    if any(one.verdict == "missing" for one in found):
        return found
    found += checked("concurrency", lambda: concurrency(session))
    return found + checked("stack", lambda: deployment(session, stack, environment))


def checked(what: str, check) -> list[Finding]:
    try:
        return check()
    except botocore.exceptions.ClientError as error:
        verdict = "note" if error.response["Error"]["Code"] in DENIED else "missing"
        return [Finding(verdict, what, f"not checked: {error}")]
    except botocore.exceptions.BotoCoreError as error:
        return [Finding("missing", what, f"not checked: {error}")]


def credentials(session) -> list[Finding]:
    """The identity of the caller, and the clock: its error is the cause of many a refused request."""
    try:
        answer = session.client("sts").get_caller_identity()
    except botocore.exceptions.ClientError as error:
        answer = error.response
    except botocore.exceptions.BotoCoreError as error:
        return [Finding("missing", "credentials", f"{error} (in the environment, or in a profile: `aws configure`)")]
    found = clock(answer["ResponseMetadata"].get("HTTPHeaders", {}).get("date"), now())
    if "Arn" not in answer:
        return [*found, Finding("missing", "credentials", answer["Error"].get("Message", answer["Error"]["Code"]))]
    return [Finding("ok", "credentials", f"account {answer['Account']}, {answer['Arn']}"), *found]


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def clock(date: str | None, here: datetime.datetime) -> list[Finding]:
    """Compares this machine's clock with the Date header of an answer."""
    if not date:
        return []
    skew = (here - email.utils.parsedate_to_datetime(date)).total_seconds()
    text = f"{abs(skew):.0f} s {'fast' if skew > 0 else 'slow'}"
    if abs(skew) > MAX_SKEW_SECS:
        return [Finding("missing", "clock", f"{text}: signed requests are refused; synchronise it (NTP)")]
    return [judged("clock", abs(skew) <= NOTED_SKEW_SECS, "agrees", f"{text}; synchronise it (NTP)", optional=True)]


def concurrency(session) -> list[Finding]:
    limit = session.client("lambda").get_account_settings()["AccountLimit"]["ConcurrentExecutions"]
    text = f"{limit} functions of the account run at once"
    return [judged("concurrency", bool(aws.reservations(limit)), text, f"{text}; {RAISE_QUOTA}", optional=True)]


def deployment(session, stack: str, environment) -> list[Finding]:
    present = deploy.describe(session.client("cloudformation"), stack)
    if not states.exists(present):
        return [
            Finding("note", "stack", f"there is no stack {stack} in {session.region_name}; `make deploy` creates it")
        ]
    try:
        states.check(present, stack, session.region_name)
    except settings.Problem as problem:
        return [Finding("missing", "stack", str(problem))]
    outputs = deploy.outputs(present)
    here = template.load(template.text())["Mappings"]["Logferry"]["Release"]["Version"]
    found = [
        Finding("ok", "stack", f"{stack} is {present['StackStatus']}"),
        judged(
            "version",
            outputs.get("Version") == here,
            here,
            f"{outputs.get('Version')} runs, {here} is here",
            optional=True,
        ),
    ]
    for what, check in {
        "functions": lambda: functions(session, outputs),
        "triggers": lambda: triggers(session, stack),
        "alarms": lambda: alarms(session, stack),
        "subscribers": lambda: subscribers(session, outputs),
        "dead letters": lambda: dead_letters(session, outputs),
    }.items():
        found += checked(what, check)
    # The address of a local stack is not that of its outputs.
    url = environment.get("API_URL") if environment.get("AWS_ENDPOINT_URL") else None
    return found + api(url or outputs["ApiUrl"], environment.get("LOGFERRY_API_KEY"))


def functions(session, outputs: dict[str, str]) -> list[Finding]:
    client, wrong = session.client("lambda"), []
    for name in settings.FUNCTIONS:
        found = client.get_function_configuration(FunctionName=outputs[f"{name.capitalize()}FunctionName"])
        if found.get("State", "Active") not in ("Active", "Inactive"):
            wrong.append(f"{name} is {found['State']}: {found.get('StateReason', '')}")
    return [judged("functions", not wrong, "all are active", "; ".join(wrong))]


def resources(session, stack: str, kind: str) -> dict[str, str]:
    """The stack's resources of a type: physical ids by logical ones."""
    pages = session.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack)
    found = (one for page in pages for one in page["StackResourceSummaries"] if one["ResourceType"] == kind)
    return {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in found}


def triggers(session, stack: str) -> list[Finding]:
    """The schedules, and the mapping of the stream: a disabled one stops its function without an error."""
    events, client = session.client("events"), session.client("lambda")
    states_of = {
        name: events.describe_rule(Name=rule)["State"]
        for name, rule in resources(session, stack, "AWS::Events::Rule").items()
    } | {
        name: client.get_event_source_mapping(UUID=mapping)["State"]
        for name, mapping in resources(session, stack, "AWS::Lambda::EventSourceMapping").items()
    }
    wrong = [f"{name} is {state}" for name, state in states_of.items() if state.upper() not in RUNS]
    return [judged("triggers", not wrong, "all are enabled", "; ".join(wrong))]


def alarms(session, stack: str) -> list[Finding]:
    names = list(resources(session, stack, "AWS::CloudWatch::Alarm").values())
    found = session.client("cloudwatch").describe_alarms(AlarmNames=names)["MetricAlarms"]
    raised = [alarm["AlarmName"] for alarm in found if alarm["StateValue"] == "ALARM"]
    muted = [alarm["AlarmName"] for alarm in found if not alarm.get("ActionsEnabled", True)]
    text = f"in alarm: {', '.join(raised)}; see docs/operations.md#alarms-and-what-to-do"
    return [
        judged("alarms", not raised, f"none of {len(found)} is in alarm", text),
        judged(
            "actions", not muted, "every alarm notifies", f"actions are disabled: {', '.join(muted)}", optional=True
        ),
    ]


def subscribers(session, outputs: dict[str, str]) -> list[Finding]:
    note = aws.subscriptions_note(session.client("sns"), outputs["AlertsTopicArn"])
    return [judged("subscribers", note is None, "the alarms' topic has one", str(note))]


def dead_letters(session, outputs: dict[str, str]) -> list[Finding]:
    name = "ApproximateNumberOfMessages"
    asked = session.client("sqs").get_queue_attributes(QueueUrl=outputs["DeadLettersUrl"], AttributeNames=[name])
    count = int(asked["Attributes"][name])
    text = f"{count} events in the queue, see docs/operations.md#dead-letter-queue"
    return [judged("dead letters", count == 0, "none in the queue", text, optional=True)]


def api(url: str, key: str | None) -> list[Finding]:
    """Whether the API answers, and what the key in LOGFERRY_API_KEY may do."""
    try:
        status, _, date = _get(f"{url}/health", {})
        found = [judged("API", status == 200, url, f"{url}/health answers {status}")]
        # The functions run on AWS's clock; this machine's was compared with it, but for a local stack.
        found += [one for one in clock(date, now()) if one.verdict != "ok"]
        return found + (key_of(url, key) if key else [])
    except OSError as error:
        return [Finding("missing", "API", f"{url}: {error}")]


def key_of(url: str, key: str) -> list[Finding]:
    headers = {"X-API-Key": key}
    status, apps, _ = _get(f"{url}/v1/apps", headers)
    if status == 403:
        return [Finding("note", "API key", "is accepted, without the scope read")]
    if status != 200:
        return [Finding("missing", "API key", f"LOGFERRY_API_KEY: {apps.get('error', {}).get('message', status)}")]
    [app] = apps["data"]
    _, settled, _ = _get(f"{url}/v1/apps/{app}", headers)
    keys = {one["key_id"]: one["scopes"] for one in settled["data"]["keys"]}
    return [Finding("ok", "API key", f"of the app {app}, with {', '.join(keys[key[:KEY_ID_CHARS]])}")]


def _get(url: str, headers: dict[str, str]) -> tuple[int, dict, str | None]:
    """Returns status, body and date of an answer."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as answer:
            return answer.status, _json(answer.read()), answer.headers.get("date")
    except urllib.error.HTTPError as error:
        return error.code, _json(error.read()), error.headers.get("date")


def _json(body: bytes) -> dict:
    """An answer of API Gateway itself, or of a proxy, need not be JSON."""
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
