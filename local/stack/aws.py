"""Deploying to AWS: what is checked before anything is compiled or uploaded, and what is said afterwards."""

import os
import re
import shlex
import sys

import boto3
import botocore.exceptions

from . import deploy, states, template
from .settings import FUNCTIONS, STACK_NAME, Problem, Settings

# Concurrent executions that Lambda keeps for functions without a reservation.
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html
UNRESERVABLE = 100
# Shares of the reservable concurrency, for the functions whose load depends on callers. A reservation is also a
# cap: a burst of files or of queries cannot use up the executions of the others, nor all of the account.
SHARES = {"Ingest": 0.3, "Api": 0.2, "Flush": 0.15, "Presign": 0.1}
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
MAX_BUCKET_NAME = 63


def reservations(account_limit: int) -> dict[str, str]:
    """Returns the parameters that reserve concurrency in an account with this limit; empty if the limit leaves
    nothing to reserve, such as the 10 of a new account."""
    reservable = account_limit - UNRESERVABLE
    if reservable < UNRESERVABLE:
        return {}
    return {f"ReservedConcurrency{name}": str(int(reservable * share)) for name, share in SHARES.items()}


def _account_reservations(session) -> dict[str, str]:
    limit = session.client("lambda").get_account_settings()["AccountLimit"]["ConcurrentExecutions"]
    found = reservations(limit)
    if not found:
        print(
            f"This account runs at most {limit} functions at once: no concurrency can be "
            "reserved. Raise the quota 'Concurrent executions' before production, then deploy again."
        )
    return found


def name_problems(stack: str, account: str, region: str, bucket: str = "") -> list[str]:
    """What is wrong with a stack's name; `bucket` is the parameter LogBucketName."""
    found = []
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{0,49}", stack):
        found.append(f"STACK_NAME must be a letter and at most 49 letters, digits and hyphens, not {stack!r}")
    if stack == "aws":
        found.append("STACK_NAME must not be aws: the log groups below /aws are those of AWS services")
    derived = f"{stack}-logs-{account}-{region}"
    if not bucket and (derived != derived.lower() or len(derived) > MAX_BUCKET_NAME):
        longest = MAX_BUCKET_NAME - len(derived) + len(stack)
        found.append(
            f"STACK_NAME becomes a part of a bucket's name ({derived}): use at most {longest} characters without "
            "capitals, or set the parameter LogBucketName"
        )
    return found


def pairs(name: str, text: str | None) -> dict[str, str] | None:
    """Reads "Key=value …" with the shell's quotes; None if the variable is not set."""
    if text is None:
        return None
    found = {}
    for pair in shlex.split(text):
        key, equals, value = pair.partition("=")
        if not equals:
            raise Problem(f"{name} must be Key=value pairs, not {pair!r}")
        found[key] = value
    return found


def target(settings: Settings, environment=os.environ, session=None, adopts: bool = False) -> deploy.Target:
    """Returns the caller's AWS account, configured by the SDK's usual variables and files."""
    if settings.profile != "dev" or environment.get("PROFILE"):
        raise Problem("unset PROFILE: `make deploy` always builds for Lambda")
    if session is None:
        if environment.get("AWS_ENDPOINT_URL"):
            raise Problem(
                "AWS_ENDPOINT_URL is set: this shell talks to the local stack. Deploy from another shell, or unset "
                "AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
        # boto3 alone does not read AWS_REGION.
        session = boto3.session.Session(region_name=environment.get("AWS_REGION") or None)
    region = session.region_name
    if not region:
        raise Problem("no region: set AWS_REGION, such as AWS_REGION=eu-west-1")
    stack = environment.get("STACK_NAME") or STACK_NAME
    parameters = dict(settings.parameters)
    architecture = environment.get("ARCHITECTURE")
    if architecture and parameters.setdefault("Architecture", architecture) != architecture:
        raise Problem(f"ARCHITECTURE={architecture}, but PARAMETERS has Architecture={parameters['Architecture']}")
    wrong = template.problems(template.text(), parameters)
    minutes = environment.get("MONITOR_MINUTES") or "0"
    if not re.fullmatch(r"[0-9]{1,3}", minutes) or int(minutes) > 180:
        wrong.append(f"MONITOR_MINUTES must be a number from 0 to 180, not {minutes!r}")
    if wrong:
        raise Problem("\n".join(wrong))
    try:
        identity = session.client("sts").get_caller_identity()
        account = identity["Account"]
        print(f"account {account} ({identity['Arn']}), region {region}, stack {stack}")
        present = deploy.describe(session.client("cloudformation"), stack)
        states.check(present, stack, region)
        if not states.exists(present):
            _check_names(session, stack, account, parameters, adopts)
        # A stack that has only adopted resources has had no deployment.
        is_first = not states.exists(present) or present["StackStatus"] == "IMPORT_COMPLETE"
        first = _account_reservations(session) if is_first else {}
        bucket = _code_bucket(session, environment.get("CODE_BUCKET"), account)
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as problem:
        raise Problem(str(problem)) from problem
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return deploy.Target(
        client_config={"region_name": region},
        stack=stack,
        code_bucket=bucket,
        bucket_url=f"https://{bucket}.s3.{region}.{suffix}",
        parameters=parameters,
        first_parameters=first,
        keeps_parameters=True,
        patience_secs=3600,
        is_local=False,
        tags=pairs("TAGS", environment.get("TAGS")),
        monitor_minutes=int(minutes),
        asks=environment.get("CONFIRM") != "no" and sys.stdin.isatty(),
    )


def _check_names(session, stack: str, account: str, parameters: dict[str, str], adopts: bool) -> None:
    """Finds what the stack would create and what exists already, such as the retained bucket of a deleted stack."""
    region = session.region_name
    wrong = name_problems(stack, account, region, parameters.get("LogBucketName", ""))
    if wrong:
        raise Problem("\n".join(wrong))
    bucket = parameters.get("LogBucketName") or f"{stack}-logs-{account}-{region}"
    if not adopts and _bucket_region(session.client("s3"), bucket):
        wrong.append(
            f"the bucket {bucket} exists. If a deleted stack left it, adopt it with its tables (ADOPT, see "
            "docs/upgrading.md); else set the parameter LogBucketName"
        )
    logs = session.client("logs")
    names = {f"/aws/lambda/{stack}-{name}" for name in FUNCTIONS} | {f"/aws/http-api/{stack}"}
    for prefix in (f"/aws/lambda/{stack}-", f"/aws/http-api/{stack}"):
        for page in logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=prefix):
            for group in page["logGroups"]:
                if group["logGroupName"] in names:
                    wrong.append(
                        f"the log group {group['logGroupName']} exists; delete it: "
                        f"aws logs delete-log-group --region {region} --log-group-name {group['logGroupName']}"
                    )
    if wrong:
        raise Problem("\n".join(wrong))


def _bucket_region(s3, bucket: str) -> str | None:
    """The region of a bucket, also of another account's; None if there is no such bucket."""
    try:
        headers = s3.head_bucket(Bucket=bucket)["ResponseMetadata"]["HTTPHeaders"]
    except botocore.exceptions.ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            return None
        headers = error.response["ResponseMetadata"].get("HTTPHeaders", {})
    return headers.get("x-amz-bucket-region", "unknown")


def _code_bucket(session, given: str | None, account: str) -> str:
    """The bucket for the zips: CODE_BUCKET, or one of the account and region, which is created if it is missing."""
    s3, region = session.client("s3"), session.region_name
    bucket = given or f"logferry-code-{account}-{region}"
    found = _bucket_region(s3, bucket)
    if found is None and given:
        raise Problem(f"CODE_BUCKET: there is no bucket {bucket}; without CODE_BUCKET, one is created")
    if found is None:
        print(f"creating the bucket {bucket} for the zips of the functions")
        place = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        s3.create_bucket(Bucket=bucket, **place)
        s3.put_public_access_block(
            Bucket=bucket,
            PublicAccessBlockConfiguration={
                "BlockPublicAcls": True, "IgnorePublicAcls": True,
                "BlockPublicPolicy": True, "RestrictPublicBuckets": True,
            },
        )  # fmt: skip
    elif found not in (region, "unknown"):
        raise Problem(f"the bucket {bucket} is in {found}: the zips must be in {region}, the region of the stack")
    if not given:
        # A name that others can guess: nothing is uploaded into a bucket of another account.
        s3.head_bucket(Bucket=bucket, ExpectedBucketOwner=account)
    return bucket


def subscriptions_note(sns, topic: str) -> str | None:
    """What is missing for alarms to reach a person."""
    found = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    if not found:
        return f"No alarm reaches anyone: set the parameter AlarmEmail, or subscribe to {topic}"
    if all(one["SubscriptionArn"] == "PendingConfirmation" for one in found):
        return f"No alarm reaches anyone yet: {found[0]['Endpoint']} must confirm its subscription (see its inbox)"
    return None


def next_steps(outputs: dict[str, str], region: str) -> str:
    return f"""The admin key:
  aws secretsmanager get-secret-value --region {region} --query SecretString --output text \\
    --secret-id {outputs["AdminKeySecretArn"]}
The first app, with that key in ADMIN_KEY:
  curl {outputs["ApiUrl"]}/apps -H "X-Admin-Key: $ADMIN_KEY" -d '{{"app_id": "shop", "name": "Shop"}}'"""
