"""A small `aws` command for the tests of the pages, on boto3: the AWS CLI pins another botocore than the emulator.

Knows `aws SERVICE OPERATION --option value …` with --region, --query and --output, and `aws configure
export-credentials`. An operation or an option that the service's model does not have is refused."""

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
    # The name of the operation's method of boto3.
    method: str
    arguments: dict
    # The values of `GLOBAL`, without the hyphens.
    options: dict[str, str]
    # Where `lambda invoke` writes the answer.
    file: str | None


def parse(words: list[str]) -> Command:
    """Reads the words after `aws`; raises ValueError for what the service does not know."""
    service, operation, *rest = words
    session = botocore.session.get_session()
    if service not in session.get_available_services():
        raise ValueError(f"there is no service {service}")
    model = session.get_service_model(service)
    operations = {xform_name(name, "-"): name for name in model.operation_names}
    if operation not in operations:
        raise ValueError(f"{service} has no operation {operation}")
    shape = model.operation_model(operations[operation]).input_shape
    members = {f"--{xform_name(name, '-')}": (name, member) for name, member in shape.members.items()}
    command = Command(service, operation.replace("-", "_"), {}, {}, None)
    while rest:
        word = rest.pop(0)
        negative = word.replace("--no-", "--", 1)
        if word in GLOBAL:
            command.options[word.removeprefix("--")] = rest.pop(0)
        elif word in members:
            name, member = members[word]
            command.arguments[name] = True if member.type_name == "boolean" else _value(member.type_name, rest.pop(0))
        elif negative in members and members[negative][1].type_name == "boolean":
            command.arguments[members[negative][0]] = False
        elif not word.startswith("-") and (service, operation) == ("lambda", "invoke") and not command.file:
            command.file = word
        else:
            raise ValueError(f"aws {service} {operation} has no option {word}")
    missing = [name for name in shape.required_members if name not in command.arguments]
    if missing:
        raise ValueError(f"aws {service} {operation} needs {', '.join(missing)}")
    return command


def _value(kind: str, text: str):
    if kind in ("integer", "long"):
        return int(text)
    if kind == "blob":
        return text.encode()
    return json.loads(text) if kind in ("list", "map", "structure") else text


def _printed(value, output: str | None) -> str:
    if output == "text":
        return "\t".join(map(str, value)) if isinstance(value, list) else str(value)
    return json.dumps(value, indent=4, default=str)


def _run(command: Command) -> None:
    region = command.options.get("region") or os.environ.get("AWS_REGION")
    client = boto3.client(command.service, region_name=region)
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
