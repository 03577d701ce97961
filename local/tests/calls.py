"""Which AWS actions the code of a function can reach: the calls of the SDK in shared/aws, followed by name from the
function's own sources. An approximation: two functions of one name in the adapters it uses count as one."""

import functools
import pathlib
import re

from stack.settings import ROOT

ADAPTERS = ROOT / "shared" / "aws" / "src"
TEST_MODULE = re.compile(r"^#\[cfg\(test\)\]\s*\n(?:#\[.*\]\s*\n)*mod \w+ \{.*", re.MULTILINE | re.DOTALL)
# Sources of a function that only the command line runs, with its caller's permissions.
COMMAND_LINE = {"once.rs"}
CALLED = re.compile(r"\b([a-z_][a-z0-9_]*)(?:::<[^>()]*>)?\s*\(")
IMPORTED = re.compile(r"\b(?:logferry_aws|crate)::([a-z_]+)")

# The method of an SDK client, and the actions that it needs.
SDK = {
    "get_item": "dynamodb:GetItem", "put_item": "dynamodb:PutItem", "update_item": "dynamodb:UpdateItem",
    "delete_item": "dynamodb:DeleteItem", "query": "dynamodb:Query", "scan": "dynamodb:Scan",
    "batch_get_item": "dynamodb:BatchGetItem", "batch_write_item": "dynamodb:BatchWriteItem",
    "get_object": "s3:GetObject", "head_object": "s3:GetObject", "put_object": "s3:PutObject",
    "delete_object": "s3:DeleteObject", "list_objects_v2": "s3:ListBucket",
    "list_object_versions": "s3:ListBucketVersions", "put_object_tagging": "s3:PutObjectVersionTagging",
    "create_multipart_upload": "s3:PutObject", "complete_multipart_upload": "s3:PutObject",
    "abort_multipart_upload": "s3:AbortMultipartUpload", "list_parts": "s3:ListMultipartUploadParts",
    "create_log_group": "logs:CreateLogGroup", "create_log_stream": "logs:CreateLogStream",
    "put_log_events": "logs:PutLogEvents", "put_retention_policy": "logs:PutRetentionPolicy",
    "get_secret_value": "secretsmanager:GetSecretValue", "publish": "sns:Publish", "invoke": "lambda:InvokeFunction",
    "get_attendee": "chime:GetAttendee",
}  # fmt: skip
# A part of a transaction, by the name of its builder.
PARTS = {
    "Put": "dynamodb:PutItem", "PutAction": "dynamodb:PutItem", "Update": "dynamodb:UpdateItem",
    "Delete": "dynamodb:DeleteItem", "ConditionCheck": "dynamodb:ConditionCheckItem",
}  # fmt: skip
# An adapter of a table: where it is implemented, and where a function constructs it, with the names of its tables.
IMPLEMENTED = re.compile(r"\bimpl(?:<[^{]*>)?\s+(?:[\w<>:, ]+ for )?(Dynamo\w+)")
CONSTRUCTED = re.compile(r"\b(Dynamo\w+)::new\(")
TABLE = re.compile(r"\bconfig\.table_(\w+)")
SENT = re.compile(r"\.(" + "|".join(SDK) + r")\(\)")
PART = re.compile(r"\b(" + "|".join(PARTS) + r")::builder\(\)")


def source(path: pathlib.Path) -> str:
    text = TEST_MODULE.sub("", path.read_text())
    return re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE)


def actions_in(text: str) -> set[str]:
    return {SDK[name] for name in SENT.findall(text)} | {PARTS[name] for name in PART.findall(text)}


@functools.cache
def adapters() -> dict[str, list[tuple[str, str]]]:
    """The functions of each module of shared/aws: their names and bodies."""
    found = {}
    for path in ADAPTERS.rglob("*.rs"):
        module = path.relative_to(ADAPTERS).parts[0].removesuffix(".rs")
        if module != "lib":
            found.setdefault(module, []).extend(_functions(source(path)))
    return found


def _functions(text: str):
    for match in re.finditer(r"\bfn ([a-z_0-9]+)", text):
        start = text.find("{", match.end())
        end = text.find(";", match.end())
        if start < 0 or (0 <= end < start and "[" not in text[match.end() : end]):
            continue  # a declaration in a trait
        depth, at = 1, start + 1
        while depth and at < len(text):
            depth += {"{": 1, "}": -1}.get(text[at], 0)
            at += 1
        yield match[1], text[start:at]


def with_imported(modules: set[str]) -> set[str]:
    """Modules of shared/aws, and those that they import."""
    left, seen = modules & adapters().keys(), set()
    while left:
        module = left.pop()
        seen.add(module)
        paths = [ADAPTERS / f"{module}.rs", *(ADAPTERS / module).glob("*.rs")]
        text = "".join(source(path) for path in paths if path.exists())
        left |= (set(IMPORTED.findall(text)) & adapters().keys()) - seen
    return seen


def called_by(function: str, *folders: str) -> set[str]:
    """The names of all functions that the function's sources, and those of `folders`, call."""
    roots = [ROOT / "functions" / function / "src", *(ROOT / folder for folder in folders)]
    text = "".join(source(path) for root in roots for path in root.rglob("*.rs") if path.name not in COMMAND_LINE)
    return set(CALLED.findall(text))


def reached(modules: set[str], called: set[str]) -> set[str]:
    """The actions of the modules' functions with these names, and of those that they call."""
    bodies = [(name, body) for module in modules for name, body in adapters()[module]]
    called, found, done = set(called), set(), set()
    while True:
        new = [index for index, (name, _) in enumerate(bodies) if name in called and index not in done]
        if not new:
            return found
        for index in new:
            done.add(index)
            found |= actions_in(bodies[index][1])
            called |= set(CALLED.findall(bodies[index][1]))


def reachable_actions(function: str, *folders: str) -> set[str]:
    """The actions of all calls that the function's sources, and those of `folders`, can reach."""
    main = (ROOT / "functions" / function / "src" / "main.rs").read_text()
    return reached(with_imported(set(IMPORTED.findall(main))), called_by(function, *folders))


@functools.cache
def implementations() -> dict[str, set[str]]:
    """The modules that implement each adapter of a table."""
    found = {}
    for path in ADAPTERS.rglob("*.rs"):
        for adapter in IMPLEMENTED.findall(source(path)):
            module = path.relative_to(ADAPTERS).parts[0].removesuffix(".rs")
            found.setdefault(adapter, set()).add(module)
    return found


def actions_by_table(function: str, *folders: str) -> dict[str, set[str]]:
    """The actions that a function's code can reach on each table, by the adapters that it constructs for the table."""
    called = called_by(function, *folders)
    found = {}
    # After each adapter, the text up to the next one.
    _, *parts = CONSTRUCTED.split(source(ROOT / "functions" / function / "src" / "main.rs"))
    for adapter, text in zip(parts[::2], parts[1::2], strict=True):
        actions = reached(with_imported(implementations()[adapter]), called)
        for table in TABLE.findall(text):
            found.setdefault(table, set()).update(one for one in actions if one.startswith("dynamodb:"))
    return found
