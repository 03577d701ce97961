"""Deploys template.yaml through CloudFormation's change sets, to the emulator and to AWS alike. Only the location of
the code is changed: `CodeUri: target/lambda/{function}/` becomes its zip in a bucket."""

import dataclasses
import hashlib
import pathlib
import time

import boto3
import botocore.exceptions

from . import binaries, states, template
from .settings import FUNCTIONS, STACK_NAME, TABLES, Problem, Settings

CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
# The emulator has no TLS, and the probed servers are on this machine.
LOCAL_PARAMETERS = {
    "TlsOnly": "false",
    "AllowPrivateHealthTargets": "true",
    "HealthPorts": "any",
    # A test searches the logs for secrets, at the most verbose level.
    "LogLevel": "trace",
    # Subscription filters of these log groups may send to ingest; a test registers the app.
    "LogGroupApps": "/local/*=local",
}
# How CloudFormation says that a change set would change nothing.
UNCHANGED = ("didn't contain changes", "No updates are to be performed")


@dataclasses.dataclass(frozen=True)
class Target:
    """Where to deploy: the clients' settings, the stack, the bucket for the code."""

    client_config: dict[str, str]
    stack: str
    code_bucket: str
    # URL of the bucket's objects, without their key.
    bucket_url: str
    parameters: dict[str, str]
    # Parameters of the first deployment, unless `parameters` has them.
    first_parameters: dict[str, str]
    # Whether an update keeps parameters that are not given, or resets them to their defaults.
    keeps_parameters: bool
    patience_secs: int
    # The emulator needs no compression, and its changes are visible at once.
    is_local: bool
    # None: an update keeps the tags of the stack.
    tags: dict[str, str] | None = None
    # Minutes after an update during which an alarm rolls it back; 0: none.
    monitor_minutes: int = 0
    # Shows the changes and asks before they are made.
    asks: bool = False

    def client(self, service: str, **more):
        return boto3.client(service, **self.client_config, **more)

    @property
    def region(self) -> str:
        return self.client_config["region_name"]


def emulator(settings: Settings) -> Target:
    bucket = "logferry-artifacts"
    boto3.client("s3", **settings.client_config).create_bucket(Bucket=bucket)
    return Target(
        client_config=settings.client_config,
        stack=STACK_NAME,
        code_bucket=bucket,
        bucket_url=f"{settings.endpoint}/{bucket}",
        parameters={**LOCAL_PARAMETERS, **settings.parameters},
        first_parameters={},
        keeps_parameters=False,
        patience_secs=120,
        is_local=True,
    )


def deploy(target: Target, folder: pathlib.Path) -> dict[str, str]:
    """Creates or updates the stack; returns its outputs."""
    try:
        return _deploy(target, folder)
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as problem:
        raise Problem(str(problem)) from problem


def _deploy(target: Target, folder: pathlib.Path) -> dict[str, str]:
    cloudformation, source = target.client("cloudformation"), template.text()
    wrong = template.problems(source, target.parameters)
    if wrong:
        raise Problem("\n".join(wrong))
    present = describe(cloudformation, target.stack)
    states.check(present, target.stack, target.region)
    if present and present["StackStatus"] == states.NEVER_CREATED:
        _remove_never_created(cloudformation, target)
    for name in FUNCTIONS:
        binaries.check(folder / name / "bootstrap", architecture(target))
    url = _upload_all(target, folder, source)
    given = _parameters(source, target, present)
    return _change(cloudformation, target, url, given, present if states.exists(present) else None)


def architecture(target: Target) -> str:
    """The architecture that will be in force: as given, else that of the running stack, else the default."""
    present = describe(target.client("cloudformation"), target.stack)
    previous = {one["ParameterKey"]: one["ParameterValue"] for one in (present or {}).get("Parameters", [])}
    kept = previous.get("Architecture") if target.keeps_parameters else None
    default = template.parameters(template.text())["Architecture"]["Default"]
    return target.parameters.get("Architecture") or kept or default


def _parameters(source: str, target: Target, present: dict | None) -> list[dict]:
    """The parameters of the request. Those of the running stack that the template no longer has are left out:
    CloudFormation refuses a request that names them."""
    known = template.parameters(source)
    named = {**target.first_parameters, **target.parameters}
    keeps = states.exists(present) and target.keeps_parameters
    kept = [one["ParameterKey"] for one in present.get("Parameters", [])] if keeps else []
    return [{"ParameterKey": name, "ParameterValue": value} for name, value in named.items()] + [
        {"ParameterKey": name, "UsePreviousValue": True} for name in kept if name in known and name not in named
    ]


def _remove_never_created(cloudformation, target: Target) -> None:
    print(f"the first deployment of {target.stack} failed and was undone; removing what is left of it:")
    print(_failures(cloudformation, target.stack, None))
    cloudformation.delete_stack(StackName=target.stack)
    while describe(cloudformation, target.stack):
        time.sleep(0.1 if target.is_local else 5)


def _upload_all(target: Target, folder: pathlib.Path, source: str) -> str:
    """Uploads the zips and the template; returns the template's URL."""
    s3 = target.client("s3")
    uris = {name: _upload(s3, target, folder / name) for name in FUNCTIONS}
    body = template.with_code(source, uris).encode()
    key = f"{target.stack}/{hashlib.sha256(body).hexdigest()[:16]}.yaml"
    s3.put_object(Bucket=target.code_bucket, Key=key, Body=body)
    return f"{target.bucket_url}/{key}"


def _upload(s3, target: Target, function: pathlib.Path) -> str:
    """Uploads the zip under a key derived from its content, unless it exists already. Older zips are kept:
    CloudFormation needs them for a rollback."""
    key = f"{target.stack}/{function.name}/{binaries.digest(function)}.zip"
    if not s3.list_objects_v2(Bucket=target.code_bucket, Prefix=key).get("KeyCount"):
        archive = binaries.pack(function, compressed=not target.is_local)
        s3.put_object(Bucket=target.code_bucket, Key=key, Body=archive)
    return f"s3://{target.code_bucket}/{key}"


def _change(cloudformation, target: Target, url: str, given: list[dict], present: dict | None) -> dict[str, str]:
    """Makes a change set, shows it, executes it, and waits; returns the stack's outputs."""
    name = f"deploy-{time.time_ns()}"
    request = {
        "StackName": target.stack,
        "ChangeSetName": name,
        "ChangeSetType": "UPDATE" if present else "CREATE",
        "TemplateURL": url,
        "Capabilities": CAPABILITIES,
        "Parameters": given,
    }
    if target.tags is not None:
        request["Tags"] = [{"Key": key, "Value": value} for key, value in target.tags.items()]
    if not present:
        # A failed creation leaves nothing, instead of a stack that can only be deleted.
        request["OnStackFailure"] = "DELETE"
    else:
        # Without it, CloudFormation would watch the alarms of the deployment before.
        request["RollbackConfiguration"] = {
            "MonitoringTimeInMinutes": target.monitor_minutes,
            "RollbackTriggers": _alarms(cloudformation, target.stack) if target.monitor_minutes else [],
        }
    made = cloudformation.create_change_set(**request)
    change_set, stack_id = made["Id"], made["StackId"]
    described = change_set_settled(cloudformation, target, change_set)
    if described["Status"] == "FAILED":
        cloudformation.delete_change_set(ChangeSetName=change_set)
        reason = described.get("StatusReason", "")
        if present and any(words in reason for words in UNCHANGED):
            return outputs(present)
        raise Problem(f"CloudFormation refuses the template or its parameters: {reason}")
    if not target.is_local:
        _show(described["Changes"])
    if target.asks and not agrees("make these changes?"):
        cloudformation.delete_change_set(ChangeSetName=change_set)
        raise Problem("nothing was changed")
    last_event = _events(cloudformation, stack_id)[:1]
    cloudformation.execute_change_set(ChangeSetName=change_set)
    stack = settled(cloudformation, target, stack_id)
    if stack["StackStatus"] not in states.DEPLOYED:
        since = last_event[0]["EventId"] if last_event else None
        reasons = _failures(cloudformation, stack_id, since)
        raise Problem(f"the deployment failed, and the stack is {stack['StackStatus']} now:\n{reasons}")
    return outputs(stack)


def change_set_settled(cloudformation, target: Target, change_set: str) -> dict:
    """Waits until the changes are known; returns the change set with all of them."""
    deadline = time.monotonic() + target.patience_secs
    while True:
        described = cloudformation.describe_change_set(ChangeSetName=change_set)
        if described["Status"] not in ("CREATE_PENDING", "CREATE_IN_PROGRESS"):
            break
        if time.monotonic() > deadline:
            raise Problem(f"the change set is still {described['Status']} after {target.patience_secs} s")
        time.sleep(0.1 if target.is_local else 2)
    token = described.get("NextToken")
    while token:
        page = cloudformation.describe_change_set(ChangeSetName=change_set, NextToken=token)
        described["Changes"] += page["Changes"]
        token = page.get("NextToken")
    return described


def _show(changes: list[dict]) -> None:
    for change in (one["ResourceChange"] for one in changes):
        replaced = "  REPLACED" if change.get("Replacement") == "True" else ""
        print(f"  {change['Action']:<7} {change['LogicalResourceId']} ({change['ResourceType']}){replaced}")


def agrees(question: str) -> bool:
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


def _alarms(cloudformation, stack: str) -> list[dict]:
    """The alarms that roll an update back: those that show a bad release within minutes."""
    found = cloudformation.describe_stack_resources(StackName=stack)["StackResources"]
    alarms = {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in found}
    prefix = found[0]["StackId"].split(":stack/")[0].replace(":cloudformation:", ":cloudwatch:")
    names = [alarms[name] for name in ("HttpErrorsAlarm", "IngestErrorsAlarm", "RpcErrorsAlarm") if name in alarms]
    return [{"Arn": f"{prefix}:alarm:{name}", "Type": "AWS::CloudWatch::Alarm"} for name in names]


def describe(cloudformation, stack: str) -> dict | None:
    try:
        return cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
    except botocore.exceptions.ClientError as problem:
        if "does not exist" in str(problem):
            return None
        raise


def settled(cloudformation, target: Target, stack_id: str) -> dict:
    """Waits until the stack is in a final state; prints what it does meanwhile."""
    deadline, shown = time.monotonic() + target.patience_secs, ""
    while True:
        stack = describe(cloudformation, stack_id) or {"StackStatus": "DELETE_COMPLETE"}
        status = stack["StackStatus"]
        if status != states.EMPTY and not status.endswith("IN_PROGRESS"):
            return stack
        if time.monotonic() > deadline:
            raise Problem(f"the stack is still {status} after {target.patience_secs} s")
        if status != shown and not target.is_local:
            print(f"  {status}", flush=True)
        shown = status
        time.sleep(0.1 if target.is_local else 5)


def outputs(stack: dict) -> dict[str, str]:
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}


def _events(cloudformation, stack: str) -> list[dict]:
    """The stack's latest events, newest first."""
    return cloudformation.describe_stack_events(StackName=stack)["StackEvents"]


def _failures(cloudformation, stack: str, after: str | None) -> str:
    """The failures of an operation: those after the event with the id `after`."""
    found = []
    for event in _events(cloudformation, stack):
        if event["EventId"] == after:
            break
        if "FAILED" in event["ResourceStatus"]:
            found.append(
                f"  {event['LogicalResourceId']}: {event.get('ResourceStatusReason', event['ResourceStatus'])}"
            )
    if any("DescribeEvents" in line for line in found):
        # The template was validated before anything was created; the events of the stack do not have the causes.
        events = cloudformation.describe_events(StackName=stack, Filters={"FailedEvents": True})["OperationEvents"]
        found += [
            f"  {event['LogicalResourceId']}: {event['ValidationStatusReason']}"
            for event in events
            if event.get("ValidationStatusReason")
        ]
    return "\n".join(reversed(found))


def local_env(settings: Settings, outputs: dict[str, str]) -> dict[str, str]:
    """Returns the values of local.env, which users and tests of the stack read."""
    secrets = boto3.client("secretsmanager", **settings.client_config)
    admin_key = secrets.get_secret_value(SecretId=outputs["AdminKeySecretArn"])["SecretString"]
    config = settings.client_config
    return {
        # The emulator's path to an HTTP API whose stage is $default; needs no name resolution.
        "API_URL": f"{settings.endpoint}/_aws/execute-api/{outputs['HttpApiId']}",
        "ADMIN_KEY": admin_key,
        "BUCKET": outputs["LogBucketName"],
        "AWS_ENDPOINT_URL": config["endpoint_url"],
        "AWS_REGION": config["region_name"],
        "AWS_ACCESS_KEY_ID": config["aws_access_key_id"],
        "AWS_SECRET_ACCESS_KEY": config["aws_secret_access_key"],
        **{f"TABLE_{name.upper()}": outputs[f"{name.capitalize()}TableName"] for name in TABLES},
        **{f"FN_{name.upper()}": outputs[f"{name.capitalize()}FunctionName"] for name in FUNCTIONS},
        # Beyond what is promised, for the tests of the stack itself.
        "FAILURE_BUCKET": outputs["FailureBucketName"],
        "DEAD_LETTERS_URL": outputs["DeadLettersUrl"],
        "HEALTH_TOPIC_ARN": outputs["HealthTopicArn"],
        "UNPROCESSED_FILE": str(settings.unprocessed_file),
        "BINARIES": str(binaries.folder(settings.profile)),
    }
