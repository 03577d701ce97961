"""Every role has the actions that its function's code calls, on resources that those actions know, and no others."""

import re

import pytest
from calls import SDK, actions_by_table, reachable_actions
from cfnlint.data import AdditionalSpecs
from cfnlint.helpers import load_resource
from expanded import ACCOUNT, REGION, Stack, as_list
from test_stacks import EVERY_OPTION

from stack.settings import FUNCTIONS

# AWS's list of all actions, and of the resources that each of them knows.
AUTHORIZATION = load_resource(AdditionalSpecs, "Policies.json")
SOURCES = ("shared/core/src", "shared/service/src", "shared/health/src")
# Made by Lambda with the function's role, not by its code.
BY_LAMBDA = {
    "OwnLogs": {"logs:CreateLogStream", "logs:PutLogEvents"},
    "Stream": {"dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"},
    "FindStreams": {"dynamodb:ListStreams"},
    "DeadLetters": {"sqs:SendMessage"},
    "DeadLetterBucket": {"s3:ListBucket"},
}
# What a call needs beside its own action: a version of an object, and a 404 instead of a 403 for a missing one.
BESIDE = {
    "s3:GetObjectVersion": "s3:GetObject", "s3:ListBucket": "s3:GetObject",
    "s3:DeleteObjectVersion": "s3:DeleteObject",
}  # fmt: skip
# What the adapters of a table or the calls of a service could do, and a function does not: it calls a function of the
# same name of another adapter, or only through another one.
NAMESAKES = {
    "presign": {
        "apps": "ConditionCheckItem DeleteItem PutItem Query Scan UpdateItem",
        "files": "BatchGetItem BatchWriteItem ConditionCheckItem Query UpdateItem",
        "stats": "BatchGetItem BatchWriteItem ConditionCheckItem PutItem Query UpdateItem",
        "s3": "DeleteObject DeleteObjectVersion GetObjectVersion PutObjectVersionTagging",
    },
    "ingest": {
        "apps": "ConditionCheckItem DeleteItem PutItem Query Scan UpdateItem",
        "files": "BatchGetItem",
        "logs": "BatchGetItem ConditionCheckItem GetItem UpdateItem",
        "stats": "BatchGetItem BatchWriteItem ConditionCheckItem DeleteItem Query",
        "s3": "DeleteObject DeleteObjectVersion",
    },
    "flush": {
        "apps": "ConditionCheckItem DeleteItem PutItem Query Scan UpdateItem",
        "checks": "BatchWriteItem DeleteItem Query",
        "files": "GetItem",
        "logs": "BatchGetItem BatchWriteItem DeleteItem GetItem",
        "s3": "DeleteObject DeleteObjectVersion GetObject GetObjectVersion ListBucket",
    },
    "api": {
        "checks": "BatchGetItem BatchWriteItem DeleteItem",
        "files": "BatchGetItem BatchWriteItem ConditionCheckItem DeleteItem PutItem",
        "logs": "BatchGetItem BatchWriteItem ConditionCheckItem",
        "stats": "BatchGetItem ConditionCheckItem DeleteItem",
    },
    "rpc": {
        "apps": "ConditionCheckItem DeleteItem PutItem Query Scan UpdateItem",
        "logs": "BatchGetItem BatchWriteItem ConditionCheckItem DeleteItem GetItem UpdateItem",
        "stats": "BatchGetItem BatchWriteItem ConditionCheckItem DeleteItem",
    },
    "health": {
        "apps": "ConditionCheckItem DeleteItem PutItem Query UpdateItem",
        "checks": "BatchGetItem BatchWriteItem",
    },
    "sweep": {
        "apps": "ConditionCheckItem UpdateItem",
        "files": "BatchWriteItem ConditionCheckItem DeleteItem",
        "logs": "BatchGetItem BatchWriteItem ConditionCheckItem PutItem",
        "stats": "BatchGetItem ConditionCheckItem DeleteItem GetItem PutItem",
        "uploads": "GetItem PutItem",
        "s3": "PutObject PutObjectVersionTagging GetObjectVersion",
    },
}


def statements(function: str, **parameters: str) -> list[dict]:
    stack = Stack(JoinVerifier="chime", ChimeApp="app", **parameters)
    [policy] = stack.resources[f"{function.capitalize()}Role"]["Properties"]["Policies"]
    return policy["PolicyDocument"]["Statement"]


def granted_to_code(function: str) -> dict[str, set[str]]:
    """The actions that a role grants to the function's code, by table, and by service for all others than DynamoDB."""
    granted = {}
    for statement in statements(function):
        for action in set(as_list(statement["Action"])) - BY_LAMBDA.get(statement["Sid"], set()):
            service, name = action.split(":")
            tables = [re.fullmatch(r".*:table/one-(\w+)Table", resource) for resource in as_list(statement["Resource"])]
            for place in [match[1].lower() for match in tables if match] or [service]:
                granted.setdefault(place, set()).add(name)
    return granted


def reachable_by_place(function: str) -> dict[str, set[str]]:
    """The actions that the function's code can reach by the names of functions, by table or service."""
    reachable = reachable_actions(function, *SOURCES)
    reachable |= {action for action, call in BESIDE.items() if call in reachable}
    places = {
        table: {action.split(":")[1] for action in actions}
        for table, actions in actions_by_table(function, *SOURCES).items()
    }
    for service, name in (action.split(":") for action in reachable if not action.startswith("dynamodb:")):
        places.setdefault(service, set()).add(name)
    return places


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_role_grants_no_action_on_a_table_or_of_a_service_that_the_code_cannot_call(function):
    reachable = reachable_by_place(function)
    for place, granted in granted_to_code(function).items():
        assert granted - reachable.get(place, set()) == set(), place


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_role_grants_every_action_on_a_table_or_of_a_service_that_the_code_calls(function):
    granted = granted_to_code(function)
    lacking = {place: actions - granted.get(place, set()) for place, actions in reachable_by_place(function).items()}
    namesakes = {place: set(names.split()) for place, names in NAMESAKES[function].items()}
    assert {place: names for place, names in lacking.items() if names} == namesakes


@pytest.mark.parametrize("function", FUNCTIONS)
def test_each_action_on_a_table_that_a_role_had_too_much_or_too_little_is_found(function):
    reachable, every = reachable_by_place(function), {action.split(":")[1] for action in SDK.values()}
    for place, granted in granted_to_code(function).items():
        namesakes = set(NAMESAKES[function].get(place, "").split())
        for removed in granted:
            assert reachable[place] - (granted - {removed}) != namesakes, (place, removed)
        for added in every - granted:
            more = granted | {added}
            assert more - reachable[place] or reachable[place] - more != namesakes, (place, added)


def test_every_call_of_the_adapters_is_granted_to_a_function_or_is_the_command_lines():
    every = [statement for function in FUNCTIONS for statement in statements(function)]
    granted = {action for statement in every for action in as_list(statement["Action"])}
    assert set(SDK.values()) - granted == set()


# The last part of an ARN by the kind of resource, where the list's formats are equal for several kinds. A wildcard of
# log groups covers their streams.
LAST_PARTS = {
    "bucket": r"[^/]+", "object": r"[^/]+/.+",
    "table": r"table/[^/]+", "index": r"table/[^/]+/index/[^/]+", "stream": r"table/[^/]+/stream/[^/]+",
    "log-group": r"log-group:[^:]+(:\*)?", "log-stream": r"log-group:([^:]+:(\*|log-stream:.+)|[^:]+/\*)",
    "topic": r"[^:/]+", "queue": r"[^:/]+", "function": r"function:[^:/]+",
}  # fmt: skip


def problem_with(action: str, resource: str) -> str | None:
    """What is wrong with a statement of one action and one resource, by AWS's list."""
    service, name = action.split(":")
    known = AUTHORIZATION[service]
    entry = known["Actions"].get(name.lower())
    if entry is None:
        return "no such action"
    if not entry.get("Resources"):
        return None if resource == "*" else "the action knows no resource"
    if resource == "*":
        return None if name.startswith("Describe") else "all resources"
    parts = resource.split(":", 5)
    for kind in entry["Resources"]:
        for shape in known["Resources"][kind.lower()]["ARNFormats"]:
            # Region and account are there or not.
            wanted = shape.split(":", 5)
            same_places = all(bool(want) == bool(have) for want, have in zip(wanted[3:5], parts[3:5], strict=True))
            last = LAST_PARTS.get(kind, wanted[5])
            if parts[2] == wanted[2] and same_places and re.fullmatch(last, parts[5]):
                return None
    return f"no shape of {entry['Resources']}"


def mismatches(statement: dict) -> list[tuple[str, str]]:
    """The actions of a statement that know none of its resources, and the resources that none of its actions knows."""
    actions, resources = as_list(statement["Action"]), as_list(statement["Resource"])
    fits = {(action, resource) for action in actions for resource in resources if not problem_with(action, resource)}
    alone = [action for action in actions if action not in {action for action, _ in fits}]
    unused = [resource for resource in resources if resource not in {resource for _, resource in fits}]
    return [(statement["Sid"], one) for one in alone + unused]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_resource_has_the_shape_that_its_actions_know(function):
    for statement in statements(function):
        assert mismatches(statement) == []


def test_the_policy_of_the_options_names_actions_that_exist():
    stack = Stack("one", **EVERY_OPTION)
    policy = stack.resources["OptionsPolicy"]["Properties"]["PolicyDocument"]
    assert {statement["Sid"] for statement in policy["Statement"]} == {"Key", "Network", "Traces"}
    for statement in policy["Statement"]:
        for action in as_list(statement["Action"]):
            service, name = action.split(":")
            assert name.lower() in AUTHORIZATION[service]["Actions"], action
            assert problem_with(action, statement["Resource"]) in (None, "all resources")


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("chime:GetAttendee", f"arn:aws:chime::{ACCOUNT}:meeting/*"),
        ("s3:GetObject", f"arn:aws:s3:{REGION}::bucket/*"),
        ("dynamodb:GetItem", f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:stream/x"),
        ("dynamodb:GetItems", f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/x"),
        ("dynamodb:GetItem", "*"),
        ("s3:ListBucket", "arn:aws:s3:::bucket/*"),
        ("s3:GetObject", "arn:aws:s3:::bucket"),
        ("dynamodb:GetItem", f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/x/index/by_app"),
        ("dynamodb:Query", f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/x/by_app"),
        ("dynamodb:GetRecords", f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/x"),
        ("logs:PutLogEvents", f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/lambda/x"),
        ("lambda:InvokeFunction", f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:x:live"),
        ("secretsmanager:GetSecretValue", f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:parameter:x"),
    ],
)
def test_a_wrong_shape_is_found(action, resource):
    assert problem_with(action, resource)
    assert mismatches({"Sid": "One", "Action": action, "Resource": resource})
