"""`make doctor`: each lack is found, and its text says what to do."""

import ast
import datetime
import pathlib
import socket

import boto3
import botocore.exceptions
import pytest
from test_upgrades import Account, account, folder  # noqa: F401 (fixtures)

import doctor as machine
from stack import doctor

HERE = datetime.datetime(2026, 11, 27, 12, 0, tzinfo=datetime.UTC)
KEY = "0123456789abcdef" + 32 * "0"


def verdicts(found: list[machine.Finding]) -> dict[str, str]:
    return {one.what: one.verdict for one in found}


def text_of(found: list[machine.Finding], what: str) -> str:
    [one] = [one for one in found if one.what == what]
    return one.text


def test_a_machine_without_rust_or_a_linker_is_described_with_what_to_install(monkeypatch):
    monkeypatch.setattr(machine.shutil, "which", lambda _: None)
    monkeypatch.setattr(machine, "output_of", lambda *_: "")
    found = [*machine.python(), *machine.rust(), *machine.optional()]
    lacking = {name for name, verdict in verdicts(found).items() if verdict == "missing"}
    assert lacking == {"venv", "Rust", "C compiler"}
    assert "rustup.rs" in text_of(found, "Rust") and "gcc" in text_of(found, "C compiler")
    assert "make sam-local" in text_of(found, "Docker")


def test_the_check_of_the_machine_is_readable_for_a_python_that_is_too_old():
    source = pathlib.Path(machine.__file__).read_text()
    ast.parse(source, feature_version=(3, 8))
    assert "from __future__ import annotations" in source


@pytest.mark.parametrize(("shown", "verdict"), [("rustc 1.94.1 (a 2026)", "missing"), ("rustc 1.100.0", "ok")])
def test_versions_are_compared_as_numbers(monkeypatch, shown, verdict):
    monkeypatch.setattr(machine, "output_of", lambda *_: shown)
    assert verdicts(machine.rust())["Rust"] == verdict


def test_a_port_is_free_or_used_by_the_local_stack_or_by_another_program(tmp_path):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        number = listener.getsockname()[1]
        environment = {"LOGFERRY_PORT": str(number), "LOGFERRY_STATE": str(tmp_path)}
        assert machine.port(environment).verdict == "ok"
        listener.listen()
        assert "set LOGFERRY_PORT" in machine.port(environment).text
        pathlib.Path(tmp_path, "local.env").write_text(f"AWS_ENDPOINT_URL=http://127.0.0.1:{number}\n")
        assert machine.port(environment).verdict == "ok"
    assert machine.port({"LOGFERRY_PORT": "http"}).verdict == "missing"


@pytest.mark.parametrize(
    ("date", "verdict"),
    [
        ("Fri, 27 Nov 2026 12:00:02 GMT", "ok"),
        ("Fri, 27 Nov 2026 11:59:30 GMT", "note"),
        ("Fri, 27 Nov 2026 12:10:00 GMT", "missing"),
    ],
)
def test_the_clock_is_compared_with_that_of_the_service(date, verdict):
    assert verdicts(doctor.clock(date, HERE)) == {"clock": verdict}


class Denied:
    """A session whose every call is denied."""

    region_name = "eu-west-1"

    def client(self, service):
        raise botocore.exceptions.ClientError(
            {"Error": {"Code": "AccessDenied", "Message": f"no {service}"}, "ResponseMetadata": {}}, "Any"
        )


def test_a_check_that_the_caller_may_not_make_is_a_note():
    found = doctor.checked("concurrency", lambda: doctor.concurrency(Denied()))
    assert verdicts(found) == {"concurrency": "note"} and "no lambda" in found[0].text


def test_without_a_region_or_credentials_the_first_lack_is_named(monkeypatch, tmp_path):
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert verdicts(doctor.diagnose({})) == {"region": "missing"}
    assert verdicts(doctor.diagnose({"AWS_REGION": "eu-west-1"})) == {"region": "ok", "credentials": "missing"}


@pytest.fixture
def examined(account: Account, monkeypatch):  # noqa: F811
    config = account.target.client_config
    monkeypatch.setenv("AWS_ENDPOINT_URL", config["endpoint_url"])
    session = boto3.session.Session(
        config["aws_access_key_id"], config["aws_secret_access_key"], region_name=config["region_name"]
    )
    environment = {"AWS_ENDPOINT_URL": config["endpoint_url"], "STACK_NAME": account.target.stack}

    def diagnose(url: str = config["endpoint_url"] + "/no-such-api") -> list[machine.Finding]:
        return doctor.diagnose({**environment, "API_URL": url}, session)

    return diagnose


def test_what_a_deployment_lacks_is_found(account, folder, examined):  # noqa: F811
    assert verdicts(examined())["stack"] == "note", "there is none yet"
    outputs = account.deploy(folder)
    lacking = {name for name, verdict in verdicts(examined()).items() if verdict != "ok"}
    assert lacking == {"subscribers", "API"}, "the functions of this test are no programs"

    resources = account.cloudformation.describe_stack_resources(StackName=account.target.stack)["StackResources"]
    named = {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in resources}
    rules = [one["PhysicalResourceId"] for one in resources if one["ResourceType"] == "AWS::Events::Rule"]
    account.target.client("events").disable_rule(Name=rules[0])
    account.target.client("cloudwatch").set_alarm_state(
        AlarmName=named["HttpErrorsAlarm"], StateValue="ALARM", StateReason="a test"
    )
    account.target.client("sqs").send_message(QueueUrl=outputs["DeadLettersUrl"], MessageBody="{}")
    sns = account.target.client("sns")
    queue = "arn:aws:sqs:us-east-1:000000000000:any"
    sns.subscribe(TopicArn=outputs["AlertsTopicArn"], Protocol="sqs", Endpoint=queue)
    found = examined("http://127.0.0.1:1")
    assert "DISABLED" in text_of(found, "triggers")
    assert named["HttpErrorsAlarm"] in text_of(found, "alarms")
    assert verdicts(found)["dead letters"] == "note"
    assert verdicts(found)["subscribers"] == "ok"
    assert "127.0.0.1:1" in text_of(found, "API")


@pytest.mark.parametrize(
    ("status", "verdict", "text"),
    [
        (200, "ok", "of the app shop, with write, read"),
        (403, "note", "without the scope read"),
        (401, "missing", "invalid"),
    ],
)
def test_a_key_is_described_by_what_it_may_do(monkeypatch, status, verdict, text):
    bodies = {
        "/v1/apps": {"data": ["shop"]} if status == 200 else {"error": {"message": "the API key is invalid"}},
        "/v1/apps/shop": {"data": {"keys": [{"key_id": KEY[:16], "scopes": ["write", "read"]}]}},
    }
    monkeypatch.setattr(doctor, "_get", lambda url, _: (status, bodies[url.removeprefix("http://api")], None))
    [found] = doctor.key_of("http://api", KEY)
    assert found.verdict == verdict and text in found.text
