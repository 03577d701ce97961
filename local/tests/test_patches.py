"""Every patch is needed and works: the unpatched emulator has the gap, the patched one does not.

If a test fails on the unpatched emulator, the emulator no longer has the gap: remove the patch."""

import http.server
import io
import json
import pathlib
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import uuid
import zipfile

import boto3
import botocore.exceptions
import pytest

GIVE_UP_SECS = 30


class Cloud:
    """Clients of one emulator, and small stacks in it."""

    def __init__(self, chosen):
        self.settings = chosen

    def client(self, service: str):
        return boto3.client(service, **self.settings.client_config)

    # `cloud.s3` and the like.
    __getattr__ = client

    def deploy(self, resources: dict) -> dict[str, str]:
        """Creates a stack of these resources; returns their physical ids by logical id."""
        name = f"s{uuid.uuid4().hex[:8]}"
        template = json.dumps({"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources})
        self.cloudformation.create_stack(StackName=name, TemplateBody=template, Capabilities=["CAPABILITY_IAM"])
        eventually(lambda: self._status(name) == "CREATE_COMPLETE")
        found = self.cloudformation.describe_stack_resources(StackName=name)["StackResources"]
        return {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in found}

    def function(self, bootstrap: str) -> dict:
        """Uploads a runtime; returns the resources of a function that it runs."""
        archive, code = io.BytesIO(), f"code-{uuid.uuid4()}"
        with zipfile.ZipFile(archive, "w") as packed:
            entry = zipfile.ZipInfo("bootstrap")
            entry.external_attr = 0o755 << 16
            packed.writestr(entry, bootstrap)
        self.s3.create_bucket(Bucket=code)
        self.s3.put_object(Bucket=code, Key="zip", Body=archive.getvalue())
        return {
            "Role": {"Type": "AWS::IAM::Role", "Properties": {
                "AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [{
                    "Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]},
                "Policies": [{"PolicyName": "p", "PolicyDocument": {"Version": "2012-10-17", "Statement": [{
                    "Effect": "Allow", "Action": ["dynamodb:*", "s3:*", "logs:*"], "Resource": "*"}]}}]}},
            "Function": {"Type": "AWS::Lambda::Function", "Properties": {
                "Runtime": "provided.al2023", "Handler": "bootstrap", "Code": {"S3Bucket": code, "S3Key": "zip"},
                "Role": {"Fn::GetAtt": ["Role", "Arn"]}}},
        }  # fmt: skip

    def _status(self, name: str) -> str:
        status = self.cloudformation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]
        assert "FAILED" not in status and "ROLLBACK" not in status
        return status


def eventually(condition, seconds=GIVE_UP_SECS):
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "the condition was not met in time"
        time.sleep(0.1)
    return value


def refused(call) -> bool:
    try:
        call()
    except botocore.exceptions.ClientError:
        return True
    return False


TABLE = {
    "BillingMode": "PAY_PER_REQUEST",
    "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
    "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
}


def preflights_are_refused(cloud: Cloud) -> bool:
    ids = cloud.deploy({
        "Api": {"Type": "AWS::ApiGatewayV2::Api", "Properties": {
            "Name": "cors", "ProtocolType": "HTTP", "CorsConfiguration": {"AllowOrigins": ["https://a.example"]}}},
        "Stage": {"Type": "AWS::ApiGatewayV2::Stage", "Properties": {
            "ApiId": {"Ref": "Api"}, "StageName": "$default", "AutoDeploy": True}},
    })  # fmt: skip
    url = f"{cloud.settings.endpoint}/_aws/execute-api/{ids['Api']}/anything"
    headers = {"Origin": "https://a.example", "Access-Control-Request-Method": "GET"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="OPTIONS", headers=headers)) as answer:
            return answer.headers["Access-Control-Allow-Origin"] != "https://a.example"
    except urllib.error.HTTPError as error:
        return error.code == 403


def http_api(cloud: Cloud, route: str, integration: str) -> str:
    """Deploys an HTTP API whose only route goes to a URL; returns its own URL."""
    ids = cloud.deploy({
        "Api": {"Type": "AWS::ApiGatewayV2::Api", "Properties": {"Name": "proxy", "ProtocolType": "HTTP"}},
        "Stage": {"Type": "AWS::ApiGatewayV2::Stage", "Properties": {
            "ApiId": {"Ref": "Api"}, "StageName": "$default", "AutoDeploy": True}},
        "To": {"Type": "AWS::ApiGatewayV2::Integration", "Properties": {
            "ApiId": {"Ref": "Api"}, "IntegrationType": "HTTP_PROXY", "IntegrationMethod": "ANY",
            "IntegrationUri": integration, "PayloadFormatVersion": "1.0"}},
        "Route": {"Type": "AWS::ApiGatewayV2::Route", "Properties": {
            "ApiId": {"Ref": "Api"}, "RouteKey": route,
            "Target": {"Fn::Join": ["/", ["integrations", {"Ref": "To"}]]}}},
    })  # fmt: skip
    return f"{cloud.settings.endpoint}/_aws/execute-api/{ids['Api']}"


def the_slash_at_the_end_of_a_path_is_lost(cloud: Cloud) -> bool:
    asked = []

    class Noted(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Noted) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = http_api(cloud, "$default", f"http://127.0.0.1:{server.server_port}")
        for path in ("/console", "/console/a/", "/console/"):
            urllib.request.urlopen(f"{url}{path}").close()
        server.shutdown()
    assert asked[:2] == ["/console", "/console/a/"]
    return asked[2] != "/console/"


def a_path_with_a_newline_reaches_the_default_route(cloud: Cloud) -> bool:
    api = http_api(cloud, "GET /s3/{proxy+}", f"{cloud.settings.endpoint}/_ministack/health")

    def is_routed(path: str) -> bool:
        try:
            urllib.request.urlopen(f"{api}{path}").close()
        except urllib.error.HTTPError as error:
            return b'"Not Found"' not in error.read()
        return True

    assert is_routed("/s3/a/b") and not is_routed("/other")
    return not is_routed("/s3/a%0Ab/c")


# A small runtime that answers with what an HTTP API says of a request's body.
ECHO = f"""#!{sys.executable}
import json, os, urllib.request
api = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
while True:
    with urllib.request.urlopen(api + "next") as given:
        request, event = given.headers["Lambda-Runtime-Aws-Request-Id"], json.load(given)
    answer = {{"statusCode": 200, "body": json.dumps(event["isBase64Encoded"])}}
    urllib.request.urlopen(api + request + "/response", json.dumps(answer).encode()).close()
"""


def encoded_bodies_are_decoded_as_text(cloud: Cloud) -> bool:
    ids = cloud.deploy({
        **cloud.function(ECHO),
        "Api": {"Type": "AWS::ApiGatewayV2::Api", "Properties": {"Name": "echo", "ProtocolType": "HTTP"}},
        "Stage": {"Type": "AWS::ApiGatewayV2::Stage", "Properties": {
            "ApiId": {"Ref": "Api"}, "StageName": "$default", "AutoDeploy": True}},
        "Integration": {"Type": "AWS::ApiGatewayV2::Integration", "Properties": {
            "ApiId": {"Ref": "Api"}, "IntegrationType": "AWS_PROXY", "PayloadFormatVersion": "2.0",
            "IntegrationUri": {"Fn::GetAtt": ["Function", "Arn"]}}},
        "Route": {"Type": "AWS::ApiGatewayV2::Route", "Properties": {
            "ApiId": {"Ref": "Api"}, "RouteKey": "$default",
            "Target": {"Fn::Join": ["/", ["integrations", {"Ref": "Integration"}]]}}},
    })  # fmt: skip
    url = f"{cloud.settings.endpoint}/_aws/execute-api/{ids['Api']}/anything"

    def is_base64(headers: dict) -> bool:
        headers = {"Content-Type": "application/json", **headers}
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers, data=b"\x1f\x8b")) as answer:
            return json.load(answer)

    assert not is_base64({})
    return not is_base64({"Content-Encoding": "gzip"})


def time_to_live_stays_off(cloud: Cloud) -> bool:
    specification = {"AttributeName": "expires_at", "Enabled": True}
    ids = cloud.deploy({
        "Table": {"Type": "AWS::DynamoDB::Table", "Properties": {**TABLE, "TimeToLiveSpecification": specification}}
    })  # fmt: skip
    described = cloud.dynamodb.describe_time_to_live(TableName=ids["Table"])
    return described["TimeToLiveDescription"]["TimeToLiveStatus"] != "ENABLED"


def generated_secrets_have_punctuation(cloud: Cloud) -> bool:
    wanted = {"PasswordLength": 64, "ExcludePunctuation": True}
    ids = cloud.deploy({
        "Secret": {"Type": "AWS::SecretsManager::Secret", "Properties": {"GenerateSecretString": wanted}}
    })  # fmt: skip
    return not cloud.secretsmanager.get_secret_value(SecretId=ids["Secret"])["SecretString"].isalnum()


def the_ref_of_a_secret_is_no_arn(cloud: Cloud) -> bool:
    kinds = {"Type": "AWS::SecretsManager::Secret", "Properties": {"GenerateSecretString": {"PasswordLength": 32}}}
    ids = cloud.deploy({"Secret": kinds})
    assert cloud.secretsmanager.get_secret_value(SecretId=ids["Secret"])["SecretString"]
    return not ids["Secret"].startswith("arn:aws:secretsmanager:")


def alarms_on_metric_math_are_refused(cloud: Cloud) -> bool:
    metric = {
        "Namespace": "AWS/Lambda",
        "MetricName": "Throttles",
        "Dimensions": [{"Name": "FunctionName", "Value": "f"}],
    }
    try:
        ids = cloud.deploy({"Alarm": {"Type": "AWS::CloudWatch::Alarm", "Properties": {
            "Metrics": [
                {"Id": "total", "Expression": "SUM(METRICS())"},
                {"Id": "one", "ReturnData": False, "MetricStat": {"Stat": "Sum", "Period": 300, "Metric": metric}}],
            "ComparisonOperator": "GreaterThanThreshold", "Threshold": 0, "EvaluationPeriods": 1}}})  # fmt: skip
    except AssertionError:
        return True
    [alarm] = cloud.cloudwatch.describe_alarms(AlarmNames=[ids["Alarm"]])["MetricAlarms"]
    return (alarm["MetricName"], alarm["Period"]) != ("Throttles", 300)


def parameters_that_the_template_lacks_are_accepted(cloud: Cloud) -> bool:
    template = json.dumps({"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}})
    request = {"TemplateBody": template, "Parameters": [{"ParameterKey": "Removed", "ParameterValue": "1"}]}
    name = f"s{uuid.uuid4().hex[:8]}"
    create = refused(lambda: cloud.cloudformation.create_stack(StackName=name, **request))
    change = refused(
        lambda: cloud.cloudformation.create_change_set(
            StackName=f"{name}-2", ChangeSetName="c", ChangeSetType="CREATE", **request
        )
    )
    return not (create and change)


def a_stack_that_was_never_created_is_created_again(cloud: Cloud) -> bool:
    name, formation = f"s{uuid.uuid4().hex[:8]}", cloud.cloudformation
    bad = {"Alarm": {"Type": "AWS::CloudWatch::Alarm", "Properties": {"MetricName": "m"}}}
    formation.create_stack(StackName=name, TemplateBody=json.dumps({"Resources": bad}))
    eventually(lambda: formation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"] == "ROLLBACK_COMPLETE")
    good = json.dumps({"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}})
    create = refused(lambda: formation.create_stack(StackName=name, TemplateBody=good))
    change = refused(
        lambda: formation.create_change_set(
            StackName=name, ChangeSetName="c", ChangeSetType="CREATE", TemplateBody=good
        )
    )
    return not (create and change)


def a_stack_takes_over_what_exists(cloud: Cloud) -> bool:
    group = f"/taken/{uuid.uuid4()}"
    cloud.logs.create_log_group(logGroupName=group)
    try:
        cloud.deploy({"Group": {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": group}}})
    except AssertionError:
        return False
    return True


def nothing_is_left_unprocessed(cloud: Cloud) -> bool:
    ids = cloud.deploy({"Table": {"Type": "AWS::DynamoDB::Table", "Properties": TABLE}})
    puts = [{"PutRequest": {"Item": {"pk": {"S": name}}}} for name in "ab"]
    cloud.settings.unprocessed_file.write_text("1")
    try:
        answer = cloud.dynamodb.batch_write_item(RequestItems={ids["Table"]: puts})
    finally:
        cloud.settings.unprocessed_file.unlink()
    return answer["UnprocessedItems"] != {ids["Table"]: puts[1:]}


def log_batches_are_not_checked(cloud: Cloud) -> bool:
    group = f"/g/{uuid.uuid4()}"
    logs = cloud.logs
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    now, day = int(time.time() * 1000), 86_400_000

    def put(*events):
        batch = [{"timestamp": timestamp, "message": message} for timestamp, message in events]
        return logs.put_log_events(logGroupName=group, logStreamName="s", logEvents=batch)

    illegal = (
        [(now, "later"), (now - 1, "earlier")],
        [(now - day - 1, "a"), (now, "b")],
        [(now, "x")] * 10_001,
        [(now, "x" * 524_288)] * 2,
    )
    checked = all(refused(lambda batch=batch: put(*batch)) for batch in illegal)
    answer = put((now - 15 * day, "old"), (now, "good"), (now + day // 2, "new"))
    reported = answer.get("rejectedLogEventsInfo") == {"tooOldLogEventEndIndex": 1, "tooNewLogEventStartIndex": 2}
    put((now - 1, "late"))
    stored = logs.get_log_events(logGroupName=group, logStreamName="s", startFromHead=True)["events"]
    in_order = [event["message"] for event in stored] == ["late", "good"]
    poison = f"/poison/{uuid.uuid4()}"
    logs.create_log_group(logGroupName=poison)
    poisoned = refused(lambda: put((now, f"poison:{poison}")))
    logs.delete_log_group(logGroupName=poison)
    put((now, f"poison:{poison}"))
    return not (checked and reported and in_order and poisoned)


# A small runtime that reports every record whose key begins with "poison" as failed.
BOOTSTRAP = f"""#!{sys.executable}
import json, os, urllib.request
api = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
while True:
    with urllib.request.urlopen(api + "next") as given:
        request, event = given.headers["Lambda-Runtime-Aws-Request-Id"], json.load(given)
    bad = [r["dynamodb"]["SequenceNumber"] for r in event["Records"]
           if r["dynamodb"]["Keys"]["pk"]["S"].startswith("poison")]
    answer = {{"batchItemFailures": [{{"itemIdentifier": number}} for number in bad]}}
    urllib.request.urlopen(api + request + "/response", json.dumps(answer).encode()).close()
"""


def partial_failures_are_lost(cloud: Cloud) -> bool:
    failures = f"failures-{uuid.uuid4()}"
    cloud.s3.create_bucket(Bucket=failures)
    ids = cloud.deploy({
        "Table": {"Type": "AWS::DynamoDB::Table", "Properties": {
            **TABLE, "StreamSpecification": {"StreamViewType": "NEW_IMAGE"}}},
        **cloud.function(BOOTSTRAP),
    })  # fmt: skip
    for name in ("good", "poison", "after"):
        cloud.dynamodb.put_item(TableName=ids["Table"], Item={"pk": {"S": name}})
    functions = cloud.client("lambda")
    # Made after the items, so that they are one batch.
    mapping = functions.create_event_source_mapping(
        FunctionName=ids["Function"],
        EventSourceArn=cloud.dynamodb.describe_table(TableName=ids["Table"])["Table"]["LatestStreamArn"],
        StartingPosition="TRIM_HORIZON",
        MaximumRetryAttempts=1,
        FunctionResponseTypes=["ReportBatchItemFailures"],
        DestinationConfig={"OnFailure": {"Destination": f"arn:aws:s3:::{failures}"}},
    )

    def given_up():
        return cloud.s3.list_objects_v2(Bucket=failures).get("Contents", [])

    def answered():
        described = functions.get_event_source_mapping(UUID=mapping["UUID"])
        return "3 records" in described["LastProcessingResult"] or given_up()

    eventually(answered)
    if not given_up():
        return True
    record = json.load(cloud.s3.get_object(Bucket=failures, Key=given_up()[0]["Key"])["Body"])
    first = json.loads(record["payload"])["Records"][0]
    return first["dynamodb"]["Keys"]["pk"]["S"] != "poison"


# A small runtime that writes a file for each record, and does not answer the record "held" before "release" is there.
HOLDING = """#!{python}
import json, os, pathlib, time, urllib.request
api = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
while True:
    with urllib.request.urlopen(api + "next") as given:
        request, event = given.headers["Lambda-Runtime-Aws-Request-Id"], json.load(given)
    for record in event["Records"]:
        name = record["dynamodb"]["Keys"]["pk"]["S"]
        pathlib.Path("{folder}", name).touch()
        while name == "held" and not pathlib.Path("{folder}", "release").exists():
            time.sleep(0.05)
    urllib.request.urlopen(api + request + "/response", b"{{}}").close()
"""


def one_batch_holds_up_the_stream(cloud: Cloud) -> bool:
    with tempfile.TemporaryDirectory() as name:
        return holds_up(cloud, pathlib.Path(name))


def holds_up(cloud: Cloud, folder: pathlib.Path) -> bool:
    ids = cloud.deploy({
        "Table": {"Type": "AWS::DynamoDB::Table", "Properties": {
            **TABLE, "StreamSpecification": {"StreamViewType": "NEW_IMAGE"}}},
        **cloud.function(HOLDING.format(python=sys.executable, folder=folder)),
    })  # fmt: skip
    others = {str(number) for number in range(20)}
    for name in ("held", *others):
        cloud.dynamodb.put_item(TableName=ids["Table"], Item={"pk": {"S": name}})
    cloud.client("lambda").create_event_source_mapping(
        FunctionName=ids["Function"],
        EventSourceArn=cloud.dynamodb.describe_table(TableName=ids["Table"])["Table"]["LatestStreamArn"],
        StartingPosition="TRIM_HORIZON",
        BatchSize=1,
        ParallelizationFactor=10,
    )

    def handled() -> set[str]:
        return {path.name for path in folder.iterdir()}

    eventually(lambda: "held" in handled())
    patience = time.monotonic() + 10
    while not handled() & others and time.monotonic() < patience:
        time.sleep(0.1)
    held_up = not handled() & others
    (folder / "release").touch()
    eventually(lambda: others <= handled())
    return held_up


@pytest.mark.parametrize(
    "gap",
    [
        preflights_are_refused,
        the_slash_at_the_end_of_a_path_is_lost,
        a_path_with_a_newline_reaches_the_default_route,
        encoded_bodies_are_decoded_as_text,
        time_to_live_stays_off,
        generated_secrets_have_punctuation,
        the_ref_of_a_secret_is_no_arn,
        alarms_on_metric_math_are_refused,
        parameters_that_the_template_lacks_are_accepted,
        a_stack_that_was_never_created_is_created_again,
        a_stack_takes_over_what_exists,
        nothing_is_left_unprocessed,
        log_batches_are_not_checked,
        partial_failures_are_lost,
        one_batch_holds_up_the_stream,
    ],
)
def test_the_emulator_has_the_gap_and_the_patch_closes_it(gap, stock, patched):
    assert gap(Cloud(stock)), "the emulator no longer has this gap: remove the patch"
    assert not gap(Cloud(patched))
