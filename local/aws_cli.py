"""A small `aws` command for the tests of the pages, on boto3: the AWS CLI pins another botocore than the emulator.

Knows `aws SERVICE OPERATION --option value …` and `aws SERVICE wait …` with --region, --query and --output, and `aws
configure export-credentials`. What version 2 of the AWS CLI would refuse is refused: an operation, an option or a
member that the service's model does not have, an option without its value, a value of another type."""

import base64
import binascii
import dataclasses
import json
import os
import sys

import boto3
import botocore.exceptions
import botocore.session
import jmespath
from botocore import xform_name
from botocore.validate import validate_parameters

# Options of the command itself, with the values that this command knows; None: any.
GLOBAL = {
    "--region": None,
    "--query": None,
    "--output": {"json", "text"},
    "--cli-binary-format": {"base64", "raw-in-base64-out"},
}


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
    _read(command, rest, shape)
    if (service, name) == ("lambda", "invoke") and not command.file:
        raise ValueError("aws lambda invoke needs a file for the answer")
    jmespath.compile(command.options.get("query", "@"))
    try:
        validate_parameters(command.arguments, shape)
    except botocore.exceptions.ParamValidationError as error:
        raise ValueError(f"aws {service} {name}: {error}") from None
    return command


def _read(command: Command, words: list[str], shape) -> None:
    """Reads the options of an operation whose input has this shape."""
    members = {f"--{xform_name(one, '-')}": (one, member) for one, member in shape.members.items()} if shape else {}
    given = {}
    words = list(words)
    while words:
        word = words.pop(0)
        negative = word.replace("--no-", "--", 1)
        if word in GLOBAL:
            [value] = _values(word, words, 1)
            if GLOBAL[word] and value not in GLOBAL[word]:
                raise ValueError(f"{word} is one of {', '.join(sorted(GLOBAL[word]))}, not {value!r}")
            command.options[word.removeprefix("--")] = value
        elif word in members and members[word][1].type_name == "boolean":
            given[word] = True
        elif word in members:
            given[word] = _values(word, words, None if members[word][1].type_name == "list" else 1)
        elif negative in members and members[negative][1].type_name == "boolean":
            given[negative] = False
        elif not word.startswith("-") and (command.service, command.method, command.file) == ("lambda", "invoke", None):
            command.file = word
        else:
            raise ValueError(f"aws {command.service} {command.method.replace('_', '-')} has no option {word}")
    raw = command.options.get("cli-binary-format") == "raw-in-base64-out"
    for option, values in given.items():
        name, member = members[option]
        if isinstance(values, bool):
            command.arguments[name] = values
        elif member.type_name == "list":
            command.arguments[name] = _list(member, values, raw)
        else:
            command.arguments[name] = _value(member, values[0], raw)


def _values(option: str, words: list[str], most: int | None) -> list[str]:
    """Takes the values of an option from the words after it."""
    found = []
    while words and not words[0].startswith("--") and (most is None or len(found) < most):
        found.append(words.pop(0))
    if not found:
        raise ValueError(f"{option} needs a value")
    return found


def _list(shape, texts: list[str], raw: bool) -> list:
    """A list of a JSON text, or of one text for each element."""
    if len(texts) == 1 and texts[0].startswith("["):
        return json.loads(texts[0])
    return [_value(shape.member, text, raw) for text in texts]


def _value(shape, text: str, raw: bool):
    """A value by the type of its shape; a structure and a map are JSON, or Name=value,Name=value."""
    kind = shape.type_name
    if kind in ("integer", "long"):
        return int(text)
    if kind in ("float", "double"):
        return float(text)
    if kind == "boolean":
        if text not in ("true", "false"):
            raise ValueError(f"a boolean is true or false, not {text!r}")
        return text == "true"
    if kind == "blob":
        try:
            return text.encode() if raw else base64.b64decode(text, validate=True)
        except binascii.Error as error:
            raise ValueError(f"{error}: without --cli-binary-format raw-in-base64-out a payload is base64") from None
    if kind in ("structure", "map") and not text.startswith("{"):
        pairs = dict(pair.partition("=")[::2] for pair in text.split(","))
        known = shape.members if kind == "structure" else dict.fromkeys(pairs, shape.value)
        unknown = pairs.keys() - known.keys()
        if unknown:
            raise ValueError(f"there is no {', '.join(sorted(unknown))}")
        return {name: _value(known[name], value, raw) for name, value in pairs.items()}
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
    if query:
        print(_printed(jmespath.search(query, answer), command.options.get("output")))
    elif answer:
        print(_printed(answer, command.options.get("output")))


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
