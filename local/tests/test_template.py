"""template.yaml and the functions agree: names on one side exist on the other."""

import json
import re

import pytest

from stack import template
from stack.settings import FUNCTIONS, ROOT, TABLES

# The runtime sets these itself.
OF_THE_RUNTIME = re.compile(r"AWS_")
# How Rust names a variable: by a method of the config reader, or `environment("X")` before there is one.
READER = (ROOT / "shared" / "service" / "src" / "config.rs").read_text()
METHODS = "|".join(re.findall(r"pub fn (\w+)(?:<[^(]*>)?\(&mut self, name: &str", READER))
NAMED = re.compile(rf'(?:\.(?:{METHODS})(?:::<[^>]*>)?|\b(?:environment|lookup))\(\s*"([A-Z][A-Z0-9_]*)"')
TEST_MODULE = re.compile(r"^#\[cfg\(test\)\]\s*\nmod \w+ \{.*", re.MULTILINE | re.DOTALL)


TEMPLATE = template.load(template.text())
RESOURCES = TEMPLATE["Resources"]
# The namespace of all metrics: the parameter, or one of the stack's own.
NAMESPACE = {"If": ["HasMetricsNamespace", {"Ref": "MetricsNamespace"}, {"Sub": "Logferry/${AWS::StackName}"}]}


def function(name: str) -> dict:
    return RESOURCES[f"{name.capitalize()}Function"]["Properties"]


def variables_of_template(name: str) -> dict:
    everywhere = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]
    return {**everywhere, **function(name)["Environment"]["Variables"]}


def variables_of_code(name: str) -> set[str]:
    named = set()
    for source in (ROOT / "functions" / name / "src").rglob("*.rs"):
        named |= set(NAMED.findall(TEST_MODULE.sub("", source.read_text())))
    return {variable for variable in named if not OF_THE_RUNTIME.match(variable)}


def statements(name: str) -> list[dict]:
    role = RESOURCES[f"{name.capitalize()}Role"]["Properties"]
    flat = []
    for statement in role["Policies"][0]["PolicyDocument"]["Statement"]:
        flat.append(statement["If"][1] if "If" in statement else statement)
    return flat


def as_list(value) -> list:
    return value if isinstance(value, list) else [value]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_has_a_resource_a_role_a_log_group_and_events(name):
    properties = function(name)
    assert properties["CodeUri"] == f"target/lambda/{name}/"
    assert properties["Role"] == {"GetAtt": f"{name.capitalize()}Role.Arn"}
    assert properties["MemorySize"] > 128
    group = RESOURCES[f"{name.capitalize()}LogGroup"]["Properties"]
    assert group["RetentionInDays"]
    # Lambda's default name, derived from the function's.
    assert group["LogGroupName"]["Sub"] == "/aws/lambda/" + properties["FunctionName"]["Sub"]
    events = list((ROOT / "events" / name).glob("*.json"))
    assert events, f"no sample event in events/{name}"
    for event in events:
        json.loads(event.read_text())


def test_the_api_says_how_long_the_failure_bucket_keeps_its_files():
    [rule] = RESOURCES["FailureBucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    code = (ROOT / "functions" / "api" / "src" / "remains.rs").read_text()
    assert f"FAILURE_BUCKET_DAYS: i64 = {rule['ExpirationInDays']};" in code


def test_every_function_of_the_template_has_a_folder():
    of_template = {key for key, value in RESOURCES.items() if value["Type"] == "AWS::Serverless::Function"}
    assert of_template == {f"{name.capitalize()}Function" for name in FUNCTIONS}
    assert {path.name for path in (ROOT / "functions").iterdir()} == set(FUNCTIONS)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_variables_of_template_and_code_are_the_same(name):
    in_template, in_code = set(variables_of_template(name)), variables_of_code(name)
    assert in_code - in_template == set(), "read by the code, not set by the template"
    assert in_template - in_code == set(), "set by the template, not read by the code"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_readme_of_a_function_lists_its_variables(name):
    readme = (ROOT / "functions" / name / "README.md").read_text()
    listed = re.findall(r"`([A-Z][A-Z0-9_]+)`", readme.split("**Environment**")[1])
    assert sorted(listed) == sorted(variables_of_template(name))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_role_covers_what_the_variables_name_and_nothing_else(name):
    role = json.dumps(statements(name))
    variables = variables_of_template(name)
    for table in TABLES:
        resource = f"{table.capitalize()}Table"
        named = variables.get(f"TABLE_{table.upper()}") == {"Ref": resource}
        in_role = f'"{resource}.Arn"' in role or f"${{{resource}.Arn}}" in role
        assert named == in_role, f"the {table} table"
    for variable, marker in {
        "FAILURE_BUCKET": "FailureBucket.Arn",
        "TOKEN_SECRET": "TokenSecret.Id",
        "ADMIN_KEY_SECRET": "AdminKeySecret.Id",
        "HEALTH_TOPIC_ARN": '{"Ref": "HealthTopic"}',
        "INGEST_FUNCTION": "IngestFunction.Arn",
        "LOG_GROUP_PREFIX": '{"Ref": "LogGroupPrefix"}',
    }.items():
        assert (variable in variables) == (marker in role), variable
    # Others know the bucket's name as a part of the ledger's keys only.
    speaks_s3 = '"s3"' in (ROOT / "functions" / name / "Cargo.toml").read_text()
    in_role = "LogBucket" in role or "-logs-${AWS::AccountId}" in role
    assert in_role <= speaks_s3, "rights to the bucket, and no use for them"
    assert ("BUCKET" in variables and speaks_s3) <= in_role, "the bucket, and no rights to it"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_roles_name_exact_actions_and_resources(name):
    for statement in statements(name):
        for action in as_list(statement["Action"]):
            assert "*" not in action
        if statement["Sid"] != "FindStreams":  # dynamodb:ListStreams knows no resource
            assert "*" not in as_list(statement["Resource"])


def test_every_table_has_keys_and_expiry_and_apps_can_be_restored():
    for table in TABLES:
        properties = RESOURCES[f"{table.capitalize()}Table"]["Properties"]
        assert [key["AttributeName"] for key in properties["KeySchema"]] == ["pk", "sk"]
        assert properties["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
    apps = RESOURCES["AppsTable"]["Properties"]
    assert apps["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True


def test_flushed_records_cannot_go_to_the_groups_of_the_functions():
    pattern = TEMPLATE["Parameters"]["LogGroupPrefix"]["AllowedPattern"]
    for good in ["", "/logferry", "/a", "/awsome", "/prod/logs", "/logs/aws"]:
        assert re.fullmatch(pattern, good), good
    for bad in ["/aws", "/aws/lambda", "/aws/", "aws", "/", "/x/", "/x y"]:
        assert not re.fullmatch(pattern, bad), bad


def test_a_line_of_the_access_log_is_json_whatever_the_gateway_puts_in():
    stage = RESOURCES["HttpStage"]["Properties"]["AccessLogSettings"]["Format"]
    # What a variable without a value becomes, and what an error's text is.
    for value in ["-", "Forbidden", "Too Many Requests"]:
        line = json.loads(re.sub(r"\$context\.[A-Za-z.]+", value, stage))
        assert line["source_ip"] == line["request_id"] == line["error"] == value
    # Nothing of the request's URL: a path may carry a token, a query string a key.
    known = {"requestId", "identity.sourceIp", "routeKey", "status", "responseLatency", "error.message"}
    assert set(re.findall(r"\$context\.([A-Za-z.]+)", stage)) == known
    # It comes with quotation marks of its own.
    assert "messageString" not in stage


def test_browsers_of_other_origins_may_not_send_the_admin_key_and_may_read_what_is_sent():
    cors = RESOURCES["HttpApi"]["Properties"]["CorsConfiguration"]
    assert "x-admin-key" not in cors["AllowHeaders"]
    sent = {"allow", "retry-after", "www-authenticate", "x-request-id"}
    assert sent <= set(cors["ExposeHeaders"])


@pytest.mark.parametrize(
    "function, resource, actions, keys",
    [
        ("sweep", "AppsTable.Arn", {"DeleteItem", "PutItem"}, ["jobs", "redrives", "erasures", "erasure#*"]),
        ("sweep", "AppsTable.Arn", {"UpdateItem"}, ["app#*"]),
        ("presign", "FilesTable.Arn", {"GetItem", "PutItem"}, None),
    ],
)
def test_what_changes_rows_of_a_shared_table_is_limited_to_its_own(function, resource, actions, keys):
    for statement in statements(function):
        allowed = {action.removeprefix("dynamodb:") for action in as_list(statement["Action"])}
        if {"GetAtt": resource} in as_list(statement["Resource"]) and allowed & actions:
            (condition,) = statement["Condition"].values()
            leading = condition["dynamodb:LeadingKeys"]
            assert keys is None or leading == keys


def test_alarms_watch_metrics_of_the_catalogue():
    catalogue = (ROOT / "shared" / "service" / "src" / "metrics.rs").read_text()
    for resource in RESOURCES.values():
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::CloudWatch::Alarm" and properties.get("Namespace") == NAMESPACE:
            assert f'"{properties["MetricName"]}"' in catalogue


def test_the_operations_page_lists_every_parameter_with_its_default():
    page = (ROOT / "docs" / "operations.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", page.split("## Parameters")[1].split("\n## ")[0], re.MULTILINE))
    for name, parameter in TEMPLATE["Parameters"].items():
        if name.startswith("ReservedConcurrency"):
            continue
        assert name in rows, f"{name} is not on the page"
        default = str(parameter["Default"])
        shown = rows[name].strip("`")
        expected = "empty" if default == "" else default
        assert shown == expected or (shown.endswith("…") and expected.startswith(shown[:-1])), name


def test_the_dashboard_is_json_and_searches_metrics_of_the_catalogue_by_dimensions_of_the_code():
    catalogue = (ROOT / "shared" / "service" / "src" / "metrics.rs").read_text()
    text = RESOURCES["Dashboard"]["Properties"]["DashboardBody"]["Sub"][0]
    expressions = [
        metric[0]["expression"]
        for widget in json.loads(text)["widgets"]
        for metric in widget["properties"].get("metrics", [])
        if isinstance(metric[0], dict)
    ]
    measured = (ROOT / "functions" / "health" / "src" / "measure.rs").read_text()
    searched = set()
    for expression in expressions:
        dimensions, metric = re.match(
            r"SEARCH\('\{\$\{Namespace\},([^}]*)\} MetricName=\"(\w+)\"'", expression
        ).groups()
        assert f'"{metric}"' in catalogue
        for dimension in dimensions.split(","):
            assert f'dimension("{dimension}"' in measured
        searched.add((dimensions, metric))
    by_url = {(dimensions, metric) for dimensions, metric in searched if dimensions == "App,Url"}
    assert by_url == {("App,Url", "ProbeLatency"), ("App,Url", "ChecksDown")}


def test_the_details_of_health_metrics_are_those_that_the_code_knows():
    measured = (ROOT / "functions" / "health" / "src" / "measure.rs").read_text()
    in_code = set(re.findall(r'"(\w+)" => Ok\(Detail::', measured))
    assert in_code == set(TEMPLATE["Parameters"]["HealthMetrics"]["AllowedValues"])
