"""Deployments over what is there already: earlier templates, failed stacks, what a deleted stack left."""

import dataclasses
import itertools
import json
import re
import subprocess

import boto3
import pytest

import commands
from stack import adopt, aws, binaries, deploy, settings, states, template
from stack.settings import FUNCTIONS, ROOT, Problem

NOW = template.text()
# Earlier templates: the first one, one with parameters that were removed later, and a recent one.
EARLIER = ["bc29949", "fab867c", "61e0a58"]
COUNT = itertools.count()
# The header of an ELF program for x86_64, and nothing that could run.
PROGRAM = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\x3e\x00"


def earlier(revision: str) -> str:
    shown = subprocess.run(["git", "show", f"{revision}:template.yaml"], cwd=ROOT, capture_output=True, text=True)
    if shown.returncode:
        pytest.skip(f"this copy of the repository has no history back to {revision}")
    return shown.stdout


@pytest.fixture
def folder(tmp_path):
    for name in FUNCTIONS:
        (tmp_path / name).mkdir()
        (tmp_path / name / "bootstrap").write_bytes(PROGRAM + name.encode())
    return tmp_path


class Account:
    """The emulator as one account, with a stack of its own for each test."""

    def __init__(self, chosen: settings.Settings, monkeypatch):
        self.monkeypatch = monkeypatch
        local = deploy.emulator(chosen)
        parameters = {"TlsOnly": "false"}
        self.target = dataclasses.replace(local, stack=f"s{next(COUNT)}", parameters=parameters, keeps_parameters=True)
        self.cloudformation = self.target.client("cloudformation")

    def deploy(self, folder, source: str = NOW, **parameters: str) -> dict[str, str]:
        self.monkeypatch.setattr(template, "text", lambda *_: source)
        given = {**self.target.parameters, **parameters}
        return deploy.deploy(dataclasses.replace(self.target, parameters=given), folder)

    def stack(self) -> dict | None:
        return deploy.describe(self.cloudformation, self.target.stack)

    def parameters(self) -> dict[str, str]:
        return {one["ParameterKey"]: one["ParameterValue"] for one in self.stack()["Parameters"]}

    def delete(self) -> None:
        self.cloudformation.delete_stack(StackName=self.target.stack)
        while self.stack():
            pass

    def log_bucket(self) -> str:
        return f"{self.target.stack}-logs-000000000000-us-east-1"


@pytest.fixture
def account(patched, monkeypatch) -> Account:
    return Account(patched, monkeypatch)


@pytest.mark.parametrize("revision", EARLIER)
def test_an_earlier_template_is_upgraded_and_can_be_gone_back_to(account, folder, revision):
    account.deploy(folder, earlier(revision), LogLevel="warn")
    before = account.stack()
    tables = {key: value for key, value in deploy.outputs(before).items() if key.endswith("TableName")}
    account.deploy(folder)
    upgraded = deploy.outputs(account.stack())
    assert account.stack()["StackStatus"] == "UPDATE_COMPLETE"
    assert {key: upgraded[key] for key in tables} == tables, "no table is replaced"
    assert account.parameters()["LogLevel"] == "warn", "parameters that are not given keep their values"
    account.deploy(folder, earlier(revision))
    assert account.stack()["StackStatus"] == "UPDATE_COMPLETE"
    assert account.parameters()["LogLevel"] == "warn"


def test_a_removed_parameter_is_left_out_and_a_new_one_has_its_default(account, folder):
    old = NOW.replace("\nParameters:\n", '\nParameters:\n  Removed:\n    Type: String\n    Default: "1"\n', 1)
    account.deploy(folder, old)
    assert account.parameters()["Removed"] == "1"
    account.deploy(folder, LogLevel="warn")
    assert "Removed" not in account.parameters()


def test_a_stack_whose_metrics_and_log_groups_had_common_names_keeps_them(account, folder):
    account.deploy(folder, earlier("61e0a58"))
    account.deploy(folder)
    assert account.parameters()["LogGroupPrefix"] == "/logferry"
    assert account.parameters()["MetricsNamespace"] == "Logferry"


def broken(source: str) -> str:
    """A template that is valid, with an alarm that cannot be created."""
    alarm = "  BrokenAlarm:\n    Type: AWS::CloudWatch::Alarm\n    Properties: { MetricName: m }\n"
    return source.replace("\nOutputs:\n", f"\n{alarm}\nOutputs:\n")


def test_a_first_deployment_that_fails_says_why_and_leaves_no_stack(account, folder):
    with pytest.raises(Problem, match="BrokenAlarm"):
        account.deploy(folder, broken(NOW))
    assert account.stack() is None
    account.deploy(folder)
    assert account.stack()["StackStatus"] == "CREATE_COMPLETE"


def test_a_stack_that_was_never_created_is_removed_and_created(account, folder):
    body = json.dumps({"Resources": {"Bad": {"Type": "AWS::CloudWatch::Alarm", "Properties": {"MetricName": "m"}}}})
    account.cloudformation.create_stack(StackName=account.target.stack, TemplateBody=body)
    while account.stack()["StackStatus"] != states.NEVER_CREATED:
        pass
    account.deploy(folder)
    assert account.stack()["StackStatus"] == "CREATE_COMPLETE"


def test_an_update_that_fails_says_why_and_the_running_version_deploys_as_a_success(account, folder):
    outputs = account.deploy(folder)
    with pytest.raises(Problem, match=r"UPDATE_ROLLBACK_COMPLETE now:\n.*BrokenAlarm"):
        account.deploy(folder, broken(NOW))
    assert account.deploy(folder) == outputs, "nothing to change is no failure"
    with pytest.raises(Problem) as second:
        account.deploy(folder, broken(NOW).replace("BrokenAlarm", "WorseAlarm"))
    assert "BrokenAlarm" not in str(second.value), "failures of earlier deployments are not shown"


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        ("UPDATE_IN_PROGRESS", "under way"),
        ("UPDATE_ROLLBACK_FAILED", "continue-update-rollback --stack-name logs --region eu-west-1"),
        ("ROLLBACK_FAILED", "delete-stack --stack-name logs"),
        ("CREATE_FAILED", "delete-stack --stack-name logs"),
        ("DELETE_FAILED", "--retain-resources"),
        ("DELETE_IN_PROGRESS", "under way"),
    ],
)
def test_a_state_that_accepts_no_deployment_is_explained_with_the_command_that_leads_on(status, advice):
    with pytest.raises(Problem, match=status) as problem:
        states.check({"StackStatus": status}, "logs", "eu-west-1")
    assert advice in str(problem.value)


@pytest.mark.parametrize("status", [*states.UPDATABLE, states.EMPTY, states.NEVER_CREATED])
def test_every_other_state_accepts_a_deployment(status):
    states.check({"StackStatus": status}, "logs", "eu-west-1")
    states.check(None, "logs", "eu-west-1")


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (PROGRAM.replace(b"\x3e", b"\xb7"), "compiled for arm64"),
        (b"#!/bin/sh\n", "no Linux program"),
        (PROGRAM + b"GLIBC_2.39\0", "needs GLIBC 2.39"),
        (None, "is missing"),
    ],
)
def test_a_program_that_lambda_cannot_run_is_refused_before_anything_is_uploaded(account, folder, program, reason):
    bootstrap = folder / "sweep" / "bootstrap"
    bootstrap.unlink()
    if program:
        bootstrap.write_bytes(program)
    with pytest.raises(Problem, match=reason):
        account.deploy(folder)
    uploaded = account.target.client("s3").list_objects_v2(
        Bucket=account.target.code_bucket, Prefix=f"{account.target.stack}/"
    )
    assert uploaded["KeyCount"] == 0


def test_the_architecture_of_a_running_stack_stays_unless_another_is_given(account, folder):
    for name in FUNCTIONS:
        (folder / name / "bootstrap").write_bytes(PROGRAM.replace(b"\x3e", b"\xb7"))
    account.deploy(folder, Architecture="arm64")
    account.deploy(folder)
    assert account.parameters()["Architecture"] == "arm64"
    with pytest.raises(Problem, match="Architecture is x86_64"):
        account.deploy(folder, Architecture="x86_64")


def test_a_wrong_value_is_refused_before_anything_is_uploaded(account, folder):
    with pytest.raises(Problem, match="no parameter Typo") as problem:
        account.deploy(folder, Typo="1", MaxUploadBytes="1.5", RedactPatterns="(", HealthPorts="80;443")
    for name in ("MaxUploadBytes", "RedactPatterns", "HealthPorts"):
        assert name in str(problem.value)


def test_a_new_stack_adopts_the_tables_and_the_bucket_of_a_deleted_one(account, folder):
    outputs = account.deploy(folder)
    item = {"pk": {"S": "app#shop"}, "sk": {"S": "app"}}
    account.target.client("dynamodb").put_item(TableName=outputs["AppsTableName"], Item=item)
    account.target.client("s3").put_object(Bucket=account.log_bucket(), Key="uploads/shop/x", Body=b"kept")
    account.delete()
    wanted = {"LogBucket": account.log_bucket(), "FailureBucket": outputs["FailureBucketName"]} | {
        name: outputs[f"{name}Name"]
        for name in ("AppsTable", "LogsTable", "FilesTable", "StatsTable", "ChecksTable", "UploadsTable")
    }
    # What a first deployment alone sets counts here, too.
    account.target = dataclasses.replace(account.target, first_parameters={"ReservedConcurrencyApi": "7"})
    account.target = adopt.adopt(account.target, wanted)
    again = account.deploy(folder)
    assert account.parameters()["ReservedConcurrencyApi"] == "7"
    assert {key: again[f"{key}Name"] for key in wanted} == wanted
    stored = account.target.client("dynamodb").get_item(TableName=again["AppsTableName"], Key=item)
    assert stored["Item"] == item
    assert (
        account.target.client("s3").get_object(Bucket=account.log_bucket(), Key="uploads/shop/x")["Body"].read()
        == b"kept"
    )


def restoring(source: str, target: str) -> str:
    """The commands of docs/upgrading.md that restore a table."""
    page = (ROOT / "docs" / "upgrading.md").read_text().split("\n## Restoring a table from a backup\n")[1]
    [block] = re.findall(r"(?ms)^```sh\n(.*?)^```", page)
    return re.sub(r"(?m)^TARGET=.*$", f"TARGET={target}", re.sub(r"(?m)^SOURCE=.*$", f"SOURCE={source}", block))


def test_a_table_restored_to_an_earlier_time_is_adopted_with_what_was_in_it_its_tags_and_its_protection(
    account, folder
):
    outputs, dynamodb = account.deploy(folder), account.target.client("dynamodb")
    item = {"pk": {"S": "app#shop"}, "sk": {"S": "app"}}
    dynamodb.put_item(TableName=outputs["AppsTableName"], Item=item)
    config, restored = account.target.client_config, f"{account.target.stack}-apps-restored"
    environment = {name.upper(): config[name] for name in ("aws_access_key_id", "aws_secret_access_key")}
    environment |= {"AWS_ENDPOINT_URL": config["endpoint_url"], "AWS_REGION": config["region_name"]}
    commands.run(restoring(outputs["AppsTableName"], restored), "docs/upgrading.md", environment)
    dynamodb.delete_item(TableName=outputs["AppsTableName"], Key=item)
    account.delete()
    kept = ("LogsTable", "FilesTable", "StatsTable", "ChecksTable", "UploadsTable")
    wanted = {"LogBucket": account.log_bucket(), "FailureBucket": outputs["FailureBucketName"], "AppsTable": restored}
    account.target = adopt.adopt(account.target, wanted | {name: outputs[f"{name}Name"] for name in kept})
    again = account.deploy(folder)
    assert again["AppsTableName"] == restored
    assert dynamodb.get_item(TableName=restored, Key=item)["Item"] == item
    table = dynamodb.describe_table(TableName=restored)["Table"]
    assert table["DeletionProtectionEnabled"]
    tags = {tag["Key"]: tag["Value"] for tag in dynamodb.list_tags_of_resource(ResourceArn=table["TableArn"])["Tags"]}
    assert (tags["team"], tags["stage"]) == ("logs", "production")
    expiry = dynamodb.describe_time_to_live(TableName=restored)["TimeToLiveDescription"]
    assert (expiry["TimeToLiveStatus"], expiry["AttributeName"]) == ("ENABLED", "expires_at")


def test_nothing_is_adopted_without_a_yes(account, folder, monkeypatch):
    outputs = account.deploy(folder)
    account.delete()
    monkeypatch.setattr("builtins.input", lambda question: "n")
    asking = dataclasses.replace(account.target, asks=True)
    with pytest.raises(Problem, match="nothing was changed"):
        adopt.adopt(asking, {"AppsTable": outputs["AppsTableName"]})
    assert not states.exists(account.stack())


def test_only_a_new_stack_adopts_and_only_tables_and_buckets(account, folder):
    with pytest.raises(Problem, match="cannot be adopted"):
        adopt.adopt(account.target, {"ApiFunction": "f"})
    account.deploy(folder)
    with pytest.raises(Problem, match="only a new stack"):
        adopt.adopt(account.target, {"AppsTable": "t"})


class ToAws:
    """`make deploy`, with the emulator as AWS."""

    def __init__(self, chosen: settings.Settings, monkeypatch):
        for name, value in {
            "AWS_ENDPOINT_URL": chosen.endpoint,
            "AWS_ACCESS_KEY_ID": settings.ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": settings.SECRET_KEY,
        }.items():
            monkeypatch.setenv(name, value)
        self.settings, self.session = chosen, boto3.session.Session(region_name=settings.REGION)

    def target(self, adopts: bool = False, **environment: str) -> deploy.Target:
        chosen = settings.from_environment({"PARAMETERS": environment.pop("PARAMETERS", "TlsOnly=false")})
        return aws.target(chosen, environment, self.session, adopts)


@pytest.fixture
def to_aws(patched, monkeypatch) -> ToAws:
    return ToAws(patched, monkeypatch)


def test_without_a_bucket_one_of_the_account_and_region_is_created_once(to_aws, capsys):
    for _ in range(2):
        assert to_aws.target(STACK_NAME="fresh").code_bucket == "logferry-code-000000000000-us-east-1"
    shown = capsys.readouterr().out
    assert shown.count("creating the bucket") <= 1
    assert "account 000000000000" in shown and "region us-east-1, stack fresh" in shown


def test_a_whole_deployment_to_aws_creates_tags_and_updates_a_stack(to_aws, folder):
    target = to_aws.target(STACK_NAME="whole", TAGS="team=logs 'cost center=4 2'")
    target = dataclasses.replace(target, is_local=True, bucket_url=f"{to_aws.settings.endpoint}/{target.code_bucket}")
    deploy.deploy(target, folder)
    stack = deploy.describe(target.client("cloudformation"), "whole")
    assert {tag["Key"]: tag["Value"] for tag in stack["Tags"]} == {"team": "logs", "cost center": "4 2"}
    again = to_aws.target(STACK_NAME="whole", PARAMETERS="LogLevel=warn")
    assert again.first_parameters == {} and again.tags is None
    again = dataclasses.replace(again, is_local=True, bucket_url=target.bucket_url, monitor_minutes=1)
    deploy.deploy(again, folder)
    stack = deploy.describe(target.client("cloudformation"), "whole")
    assert {tag["Key"] for tag in stack["Tags"]} == {"team", "cost center"}


def test_the_alarms_that_roll_an_update_back_are_those_of_the_stack(account, folder):
    account.deploy(folder)
    account.target = dataclasses.replace(account.target, monitor_minutes=10)
    account.deploy(folder, LogLevel="warn")
    cloudwatch = account.target.client("cloudwatch")
    found = cloudwatch.describe_alarms(AlarmNamePrefix=f"{account.target.stack}-")["MetricAlarms"]
    triggers = deploy._alarms(account.cloudformation, account.target.stack)
    assert {trigger["Arn"] for trigger in triggers} < {alarm["AlarmArn"] for alarm in found}
    assert len(triggers) == 3


@pytest.mark.parametrize("taken", ["bucket", "log group", "function"])
def test_a_name_that_is_taken_fails_the_first_deployment_with_the_name(account, folder, taken):
    stack = account.target.stack
    if taken == "bucket":
        account.target.client("s3").create_bucket(Bucket=account.log_bucket())
    elif taken == "log group":
        account.target.client("logs").create_log_group(logGroupName=f"/aws/lambda/{stack}-flush")
    else:
        trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        role = account.target.client("iam").create_role(
            RoleName=f"{stack}-other",
            AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
        )
        account.target.client("lambda").create_function(
            FunctionName=f"{stack}-flush", Runtime="provided.al2023", Handler="bootstrap",
            Role=role["Role"]["Arn"],
            Code={"ZipFile": binaries.pack(folder / "flush", compressed=True)},
        )  # fmt: skip
    with pytest.raises(Problem, match=account.log_bucket() if taken == "bucket" else f"{stack}-flush"):
        account.deploy(folder)


def test_what_a_deleted_stack_left_is_found_before_anything_is_built(to_aws):
    to_aws.session.client("s3").create_bucket(Bucket="left-logs-000000000000-us-east-1")
    to_aws.session.client("logs").create_log_group(logGroupName="/aws/lambda/left-api")
    with pytest.raises(Problem, match="the bucket left-logs-000000000000-us-east-1 exists") as problem:
        to_aws.target(STACK_NAME="left")
    assert "delete-log-group --region us-east-1 --log-group-name /aws/lambda/left-api" in str(problem.value)


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"STACK_NAME": "MyCompany-Prod"}, "without capitals"),
        ({"STACK_NAME": "a" * 49}, "at most 35 characters"),
        ({"STACK_NAME": "my_stack"}, "letters, digits and hyphens"),
        ({"STACK_NAME": "aws"}, "must not be aws"),
        ({"CODE_BUCKET": "no-such-bucket"}, "there is no bucket no-such-bucket"),
        ({"ARCHITECTURE": "arm64", "PARAMETERS": "Architecture=x86_64"}, "ARCHITECTURE=arm64"),
        ({"PARAMETERS": "MaxUploadBytes=1.5"}, "whole number"),
        ({"PROFILE": "dev"}, "unset PROFILE"),
        ({"MONITOR_MINUTES": "soon"}, "MONITOR_MINUTES"),
        ({"TAGS": "team"}, "TAGS"),
    ],
)
def test_a_deployment_that_cannot_succeed_is_refused_before_anything_is_built(to_aws, environment, reason):
    with pytest.raises(Problem, match=reason):
        to_aws.target(**environment)


def test_a_name_with_capitals_is_accepted_with_a_bucket_of_another_name(to_aws):
    target = to_aws.target(STACK_NAME="MyCompany-Prod", PARAMETERS="LogBucketName=my-company-logs")
    assert target.stack == "MyCompany-Prod"


def test_a_shell_of_the_local_stack_does_not_deploy_to_aws(monkeypatch):
    environment = {"AWS_ENDPOINT_URL": "http://127.0.0.1:4566", "AWS_REGION": "us-east-1"}
    with pytest.raises(Problem, match="unset AWS_ENDPOINT_URL"):
        aws.target(settings.from_environment({}), environment)


def test_a_missing_region_is_named_and_the_variable_of_the_cli_is_read(monkeypatch, tmp_path):
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(Problem, match="set AWS_REGION"):
        aws.target(settings.from_environment({}), {})


def test_alarms_without_a_confirmed_subscription_are_mentioned(to_aws):
    sns = to_aws.session.client("sns")
    topic = sns.create_topic(Name="alerts")["TopicArn"]
    assert "AlarmEmail" in aws.subscriptions_note(sns, topic)
    queue = to_aws.session.client("sqs").create_queue(QueueName="alerts")["QueueUrl"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=f"arn:aws:sqs:us-east-1:000000000000:{queue.split('/')[-1]}")
    assert aws.subscriptions_note(sns, topic) is None
