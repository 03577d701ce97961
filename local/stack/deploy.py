"""Deploys template.yaml to the emulator through the CloudFormation API. The one thing changed is
where the code lies: `CodeUri: target/lambda/{function}/` becomes the zip put into a bucket."""

import hashlib
import io
import re
import time

import boto3
import botocore.exceptions

from . import binaries
from .settings import FUNCTIONS, ROOT, STACK_NAME, TABLES, Problem, Settings

ARTIFACTS = "logferry-artifacts"
CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]
DEPLOY_SECS = 120
# There is no TLS on loopback, and the servers to probe are on this machine.
LOCAL_PARAMETERS = {"TlsOnly": "false", "AllowPrivateHealthTargets": "true"}
CODE_URI = re.compile(r"CodeUri: target/lambda/([a-z]+)/")


def deploy(settings: Settings, folder) -> dict[str, str]:
    """Creates the stack, or brings a running one up to date; returns its outputs."""
    s3 = boto3.client("s3", **settings.client_config)
    cloudformation = boto3.client("cloudformation", **settings.client_config)
    s3.create_bucket(Bucket=ARTIFACTS)
    uris = {name: _upload(s3, settings, folder / name / "bootstrap", name) for name in FUNCTIONS}
    template = CODE_URI.sub(lambda match: f"CodeUri: {uris[match[1]]}", (ROOT / "template.yaml").read_text())
    s3.put_object(Bucket=ARTIFACTS, Key="template.yaml", Body=template.encode())
    request = {
        "StackName": STACK_NAME,
        "TemplateURL": f"{settings.endpoint}/{ARTIFACTS}/template.yaml",
        "Capabilities": CAPABILITIES,
        "Parameters": [
            {"ParameterKey": name, "ParameterValue": value}
            for name, value in {**LOCAL_PARAMETERS, **settings.parameters}.items()
        ],
    }
    if _exists(cloudformation):
        _update(cloudformation, request)
    else:
        cloudformation.create_stack(**request)
    stack = _settled(cloudformation)
    if stack["StackStatus"] not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
        raise Problem(f"the stack ended {stack['StackStatus']}:\n{_failures(cloudformation)}")
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def local_env(settings: Settings, outputs: dict[str, str]) -> dict[str, str]:
    """The values that users and tests of the stack need, by the names they know them by."""
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
        "ALERTS_TOPIC_ARN": outputs["AlertsTopicArn"],
        "UNPROCESSED_FILE": str(settings.unprocessed_file),
    }


def _upload(s3, settings: Settings, bootstrap, name: str) -> str:
    """Puts the zip under a key that names its content, unless it is there already."""
    digest = hashlib.sha256(bootstrap.read_bytes()).hexdigest()[:16]
    key = f"{name}/{digest}.zip"
    present = s3.list_objects_v2(Bucket=ARTIFACTS, Prefix=f"{name}/").get("Contents", [])
    if key not in {entry["Key"] for entry in present}:
        archive = io.BytesIO()
        binaries.pack(bootstrap, archive)
        s3.put_object(Bucket=ARTIFACTS, Key=key, Body=archive.getvalue())
    for entry in present:
        if entry["Key"] != key:
            s3.delete_object(Bucket=ARTIFACTS, Key=entry["Key"])
    return f"s3://{ARTIFACTS}/{key}"


def _exists(cloudformation) -> bool:
    try:
        cloudformation.describe_stacks(StackName=STACK_NAME)
    except botocore.exceptions.ClientError:
        return False
    return True


def _update(cloudformation, request: dict) -> None:
    try:
        cloudformation.update_stack(**request)
    except botocore.exceptions.ClientError as problem:
        if "No updates are to be performed" not in str(problem):
            raise


def _settled(cloudformation) -> dict:
    deadline = time.monotonic() + DEPLOY_SECS
    while True:
        stack = cloudformation.describe_stacks(StackName=STACK_NAME)["Stacks"][0]
        if not stack["StackStatus"].endswith("IN_PROGRESS"):
            return stack
        if time.monotonic() > deadline:
            raise Problem(f"the stack is still {stack['StackStatus']} after {DEPLOY_SECS} s")
        time.sleep(0.1)


def _failures(cloudformation) -> str:
    events = cloudformation.describe_stack_events(StackName=STACK_NAME)["StackEvents"]
    return "\n".join(
        f"  {event['LogicalResourceId']}: {event.get('ResourceStatusReason', event['ResourceStatus'])}"
        for event in reversed(events)
        if "FAILED" in event["ResourceStatus"]
    )
