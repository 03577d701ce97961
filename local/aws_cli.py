"""A small `aws` command for the tests of the pages, on boto3: the AWS CLI pins another botocore than the emulator.

Knows `aws SERVICE OPERATION --option value …` and `aws SERVICE wait …` with --region, --query and --output, and `aws
configure export-credentials`. An operation or an option that the service's model does not have is refused."""

import dataclasses
import json
import os
import sys

import boto3
import botocore.session
import jmespath
from botocore import xform_name

# Options of the command itself.
GLOBAL = ("--region", "--query", "--output", "--cli-binary-format")


@dataclasses.dataclass
class Command:
    service: str
    # The name of the operation's method of boto3, or of the waiter.
    method: str
    waits: bool
    arguments: dict
    # The values of `GLOBAL`, without the hyphens.
    options: dict[str, str]
    # Where `lambda invoke` writes the answer.
    file: str | None


def parse(words: list[str]) -> Command:
    """Reads the words after `aws`; raises ValueError for what the service does not know."""
    service, name, *rest = words
    session = botocore.session.get_session()
    if service not in session.get_available_services():
        raise ValueError(f"there is no service {service}")
    model = session.get_service_model(service)
    waits = name == "wait"
    if waits:
        name, *rest = rest
        waiters = session.get_waiter_model(service)
        known = {xform_name(one, "-"): waiters.get_waiter(one).operation for one in waiters.waiter_names}
    else:
        known = {xform_name(one, "-"): one for one in model.operation_names}
    if name not in known:
        raise ValueError(f"{service} has no operation {name}")
    shape = model.operation_model(known[name]).input_shape
    command = Command(service, name.replace("-", "_"), waits, {}, {}, None)
    _read(command, rest, {f"--{xform_name(one, '-')}": (one, member) for one, member in shape.members.items()})
    missing = [one for one in shape.required_members if one not in command.arguments]
    if missing:
        raise ValueError(f"aws {service} {name} needs {', '.join(missing)}")
    return command


def _read(command: Command, words: list[str], members: dict) -> None:
    """Reads the options of an operation, whose members are given by option."""
    while words:
        word = words.pop(0)
        negative = word.replace("--no-", "--", 1)
        if word in GLOBAL:
            command.options[word.removeprefix("--")] = words.pop(0)
        elif word in members:
            name, member = members[word]
            command.arguments[name] = True if member.type_name == "boolean" else _value(member, words.pop(0))
        elif negative in members and members[negative][1].type_name == "boolean":
            command.arguments[members[negative][0]] = False
        elif not word.startswith("-") and (command.service, command.method) == ("lambda", "invoke"):
            command.file = word
        else:
            raise ValueError(f"aws {command.service} has no option {word} there")


def _value(shape, text: str):
    """A value by the type of its shape; a structure is JSON, or Name=value,Name=value."""
    kind = shape.type_name
    if kind in ("integer", "long"):
        return int(text)
    if kind == "boolean":
        return {"true": True, "false": False}[text]
    if kind == "blob":
        return text.encode()
    if kind == "structure" and not text.startswith("{"):
        pairs = dict(pair.split("=", 1) for pair in text.split(","))
        unknown = pairs.keys() - shape.members.keys()
        if unknown:
            raise ValueError(f"there is no {', '.join(sorted(unknown))}")
        return {name: _value(shape.members[name], value) for name, value in pairs.items()}
    return json.loads(text) if kind in ("list", "map", "structure") else text


def _printed(value, output: str | None) -> str:
    if output == "text":
        return "\t".join(map(str, value)) if isinstance(value, list) else str(value)
    return json.dumps(value, indent=4, default=str)


def _run(command: Command) -> None:
    region = command.options.get("region") or os.environ.get("AWS_REGION")
    client = boto3.client(command.service, region_name=region)
    if command.waits:
        client.get_waiter(command.method).wait(**command.arguments)
        return
    answer = getattr(client, command.method)(**command.arguments)
    if command.file:
        payload = answer.pop("Payload").read().decode()
        with open(command.file, "a") as file:
            file.write(payload + "\n")
    answer.pop("ResponseMetadata", None)
    query = command.options.get("query")
    value = jmespath.search(query, answer) if query else answer
    if value:
        print(_printed(value, command.options.get("output")))


def main(words: list[str]) -> int:
    if words == ["configure", "export-credentials", "--format", "env"]:
        found = boto3.session.Session().get_credentials().get_frozen_credentials()
        print(f"export AWS_ACCESS_KEY_ID={found.access_key}\nexport AWS_SECRET_ACCESS_KEY={found.secret_key}")
        return 0
    try:
        _run(parse(words))
    except ValueError as error:
        print(f"aws: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
