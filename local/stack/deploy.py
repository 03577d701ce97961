"""Deploys template.yaml through the CloudFormation API, to the emulator and to AWS alike. Only the location of
the code is changed: `CodeUri: target/lambda/{function}/` becomes its zip in a bucket."""

import dataclasses
import hashlib
import os
import pathlib
import re
import time

import boto3
import botocore.exceptions

from . import binaries
from .settings import FUNCTIONS, ROOT, STACK_NAME, TABLES, Problem, Settings

CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]
# The emulator has no TLS, and the probed servers are on this machine.
LOCAL_PARAMETERS = {
    "TlsOnly": "false",
    "AllowPrivateHealthTargets": "true",
    "HealthPorts": "any",
    # A test searches the logs for secrets, at the most verbose level.
    "LogLevel": "trace",
}
CODE_URI = re.compile(r"CodeUri: target/lambda/([a-z]+)/")

# Concurrent executions that Lambda keeps for functions without a reservation.
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html
UNRESERVABLE = 100
# Shares of the reservable concurrency, for the functions whose load depends on callers. A reservation is also a
# cap: a burst of files or of queries cannot use up the executions of the others, nor all of the account.
SHARES = {"Ingest": 0.3, "Api": 0.2, "Flush": 0.15, "Presign": 0.1}


@dataclasses.dataclass(frozen=True)
class Target:
    """Where to deploy: the clients' settings, the stack, the bucket for the code."""

    client_config: dict[str, str]
    stack: str
    code_bucket: str
    # URL of the bucket's objects, without their key.
    bucket_url: str
    parameters: dict[str, str]
    # Parameters that apply when the stack is created, unless `parameters` has them.
    first_parameters: dict[str, str]
    # Whether an update keeps parameters that are not given, or resets them to their defaults.
    keeps_parameters: bool
    patience_secs: int
    # The emulator needs no compression, and its changes are visible at once.
    is_local: bool


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


def reservations(account_limit: int) -> dict[str, str]:
    """Returns the parameters that reserve concurrency in an account with this limit; empty if the limit leaves
    nothing to reserve, such as the 10 of a new account."""
    reservable = account_limit - UNRESERVABLE
    if reservable < UNRESERVABLE:
        return {}
    return {f"ReservedConcurrency{name}": str(int(reservable * share)) for name, share in SHARES.items()}


def _account_reservations(region: str) -> dict[str, str]:
    limit = boto3.client("lambda", region_name=region).get_account_settings()["AccountLimit"]
    found = reservations(limit["ConcurrentExecutions"])
    if not found:
        print(
            f"This account runs at most {limit['ConcurrentExecutions']} functions at once: no concurrency can be "
            "reserved. Raise the quota 'Concurrent executions' before production, then deploy again."
        )
    return found


def aws(settings: Settings) -> Target:
    """Returns the caller's AWS account, configured by the SDK's usual variables and files."""
    bucket = os.environ.get("CODE_BUCKET")
    if not bucket:
        raise Problem("CODE_BUCKET must name an existing S3 bucket in the region you deploy to")
    region = os.environ.get("AWS_REGION") or boto3.session.Session().region_name
    if not region:
        raise Problem("AWS_REGION must be set")
    return Target(
        client_config={"region_name": region},
        stack=os.environ.get("STACK_NAME") or STACK_NAME,
        code_bucket=bucket,
        bucket_url=f"https://{bucket}.s3.{region}.amazonaws.com",
        parameters={"Architecture": os.environ.get("ARCHITECTURE") or "x86_64", **settings.parameters},
        first_parameters=_account_reservations(region),
        keeps_parameters=True,
        patience_secs=1800,
        is_local=False,
    )


def deploy(target: Target, folder: pathlib.Path) -> dict[str, str]:
    """Creates or updates the stack; returns its outputs."""
    try:
        return _deploy(target, folder)
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as problem:
        raise Problem(str(problem)) from problem


def _deploy(target: Target, folder: pathlib.Path) -> dict[str, str]:
    s3 = boto3.client("s3", **target.client_config)
    cloudformation = boto3.client("cloudformation", **target.client_config)
    uris = {name: _upload(s3, target, folder / name / "bootstrap", name) for name in FUNCTIONS}
    template = CODE_URI.sub(lambda match: f"CodeUri: {uris[match[1]]}", (ROOT / "template.yaml").read_text())
    key = f"{target.stack}/template.yaml"
    s3.put_object(Bucket=target.code_bucket, Key=key, Body=template.encode())
    present = _describe(cloudformation, target)
    named = target.parameters if present else {**target.first_parameters, **target.parameters}
    parameters = [{"ParameterKey": name, "ParameterValue": value} for name, value in named.items()]
    if target.keeps_parameters:
        parameters += [
            {"ParameterKey": parameter["ParameterKey"], "UsePreviousValue": True}
            for parameter in (present or {}).get("Parameters", [])
            if parameter["ParameterKey"] not in target.parameters
        ]
    request = {
        "StackName": target.stack,
        "TemplateURL": f"{target.bucket_url}/{key}",
        "Capabilities": CAPABILITIES,
        "Parameters": parameters,
    }
    if present:
        _update(cloudformation, request)
    else:
        cloudformation.create_stack(**request)
    stack = _settled(cloudformation, target)
    if stack["StackStatus"] not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
        raise Problem(f"the stack ended {stack['StackStatus']}:\n{_failures(cloudformation, target)}")
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


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


def _upload(s3, target: Target, bootstrap: pathlib.Path, name: str) -> str:
    """Uploads the zip under a key derived from its content, unless it exists already."""
    digest = hashlib.sha256(bootstrap.read_bytes()).hexdigest()[:16]
    key = f"{target.stack}/{name}/{digest}.zip"
    if not s3.list_objects_v2(Bucket=target.code_bucket, Prefix=key).get("KeyCount"):
        archive = binaries.pack(bootstrap, compressed=not target.is_local)
        s3.put_object(Bucket=target.code_bucket, Key=key, Body=archive)
    return f"s3://{target.code_bucket}/{key}"


def _describe(cloudformation, target: Target) -> dict | None:
    try:
        return cloudformation.describe_stacks(StackName=target.stack)["Stacks"][0]
    except botocore.exceptions.ClientError as problem:
        if "does not exist" in str(problem):
            return None
        raise


def _update(cloudformation, request: dict) -> None:
    try:
        cloudformation.update_stack(**request)
    except botocore.exceptions.ClientError as problem:
        if "No updates are to be performed" not in str(problem):
            raise


def _settled(cloudformation, target: Target) -> dict:
    deadline = time.monotonic() + target.patience_secs
    while True:
        stack = _describe(cloudformation, target)
        if not stack["StackStatus"].endswith("IN_PROGRESS"):
            return stack
        if time.monotonic() > deadline:
            raise Problem(f"the stack is still {stack['StackStatus']} after {target.patience_secs} s")
        time.sleep(0.1 if target.is_local else 5)


def _failures(cloudformation, target: Target) -> str:
    events = cloudformation.describe_stack_events(StackName=target.stack)["StackEvents"]
    return "\n".join(
        f"  {event['LogicalResourceId']}: {event.get('ResourceStatusReason', event['ResourceStatus'])}"
        for event in reversed(events)
        if "FAILED" in event["ResourceStatus"]
    )
