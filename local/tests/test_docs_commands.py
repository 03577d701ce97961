"""The runner of the pages' commands, and which pages it runs."""

import re
import shlex

import pytest

import aws_cli
import docs_commands
import runbook
from stack import aws, states, template
from stack.settings import ROOT

PAGE = """# Page

```sh
echo first
```

## A task

```sh
logferry keys create
```

```text
{"key_id":"…","name":"Ada"}
… ERROR  payment failed
```

```js
console.log(await answer.json());
```
"""
FENCED = re.compile(r"(?ms)^```(\w*)\n(.*?)^```")
# Pages and sections whose blocks other tests run, or none can.
ELSEWHERE = {
    "docs/browser.md": "parts of a page for a bundler; web/examples has whole ones",
    "docs/upgrading.md": "deploys to an account; local/tests/test_upgrades.py does the same on the emulator",
    "docs/operations.md, Deploying": "deploys to an account, or needs a release",
}


def test_a_block_has_its_title_and_the_answer_that_follows_it():
    first, second, third = docs_commands.blocks(PAGE)
    assert (first.title, first.language, first.answer) == ("the beginning", "sh", "")
    assert (second.title, second.commands) == ("A task", "logferry keys create\n")
    assert second.answer.startswith('{"key_id"')
    assert third.language == "js"


def test_lines_that_were_not_printed_are_missing_whatever_differs_from_run_to_run():
    block = docs_commands.blocks(PAGE)[1]
    printed = '{"key_id":"12","name":"Ada"}\n2026-11-26 ERROR payment failed\nmore\n'
    assert docs_commands.missing(block, printed) == []
    assert docs_commands.missing(block, printed.replace("Ada", "Bob")) == ['{"key_id":"…","name":"Ada"}']


def test_a_sample_whose_request_was_refused_counts_as_failed():
    sample = docs_commands.blocks(PAGE)[2]
    assert docs_commands.missing(sample, "{ ok: true, data: {} }") == []
    assert docs_commands.missing(sample, "{ ok: false, error: {} }") != []


# A configuration of docs/integrations.md with a name, which tests/doors runs; its tests check that it runs all of them.
OF_A_CLIENT = re.compile(r"(?ms)^#+ [^\n]*\([a-z-]+\)\n\n```\w+\n.*?^```")


def sections(page: str) -> list[tuple[str, str]]:
    """The sections of a page, with the text of each; that before the first heading is called by the page alone."""
    name, *parts = [page, *re.split(r"(?m)^## ", OF_A_CLIENT.sub("", (ROOT / page).read_text()))]
    return [(name, parts[0])] + [(f"{name}, {part.splitlines()[0]}", part) for part in parts[1:]]


def test_every_block_of_commands_is_run_by_a_test_or_named_with_the_reason():
    run = set(docs_commands.PAGES) | set(ELSEWHERE) | {f"{page}, {title}" for page, title in runbook.SECTIONS}
    pages = ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
    with_commands = {
        name: page
        for page in pages
        for name, text in sections(page)
        for language, _ in FENCED.findall(text)
        if language in ("sh", "python", "js", "jsx")
    }
    assert {name for name, page in with_commands.items() if not {name, page} & run} == set()


def test_every_configuration_of_a_client_is_run_or_says_that_it_is_not():
    page = OF_A_CLIENT.sub("", (ROOT / "docs/integrations.md").read_text())
    for section in re.split(r"(?m)^##+ ", page)[1:]:
        for language, _ in FENCED.findall(section):
            assert language == "sh" or "\nNot run by a test.\n" in section, section.splitlines()[0]


def test_the_parameters_of_printed_deployments_are_ones_that_the_template_accepts():
    found = [
        (page.name, given)
        for page in (ROOT / "docs").glob("*.md")
        for given in re.findall(r'(?m)^[^`\n]*PARAMETERS="([^"]*)".*$', page.read_text())
        if "make deploy" in page.read_text()
    ]
    assert found
    for name, given in found:
        if "Name=value" not in given:
            assert template.problems(template.text(), aws.pairs("PARAMETERS", given)) == [], f"{name}: {given}"


INSERTED = re.compile(r"\$\(aws ([^()`]*)\)")


def aws_commands(text: str) -> list[list[str]]:
    """The commands of the AWS CLI in a text, but those of `aws s3`, which are no operations of a service."""
    joined = re.sub(r"\\\n\s*", " ", text)
    lines = INSERTED.findall(joined)
    lines += re.findall(r"(?m)(?:^|`|\{)\s*aws ([a-z0-9-]+ [a-z-]+ [^`\n]*)", INSERTED.sub("VALUE", joined))
    commands = [shlex.split(line.split("; }")[0], comments=True) for line in lines]
    return [words for words in commands if words[0] != "s3"]


SHOWN = {
    **{path.name: path.read_text() for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]},
    "the help on a stack's state": "\n".join([*states.HELP.values(), states.UNDER_WAY]),
    "the end of a deployment": aws.next_steps({"AdminKeySecretArn": "arn", "ApiUrl": "url"}, "eu-west-1"),
}


@pytest.mark.parametrize("place", [place for place, text in SHOWN.items() if aws_commands(text)])
def test_every_command_of_the_aws_cli_has_options_that_the_service_knows(place):
    for words in aws_commands(SHOWN[place]):
        if words[0] != "configure":
            aws_cli.parse(words)


@pytest.mark.parametrize(
    "command",
    [
        "cloudformation delete-stak --stack-name logs",
        "cloudformation delete-stack --stack logs",
        "cloudformation delete-stack",
        "cloudfront-formation delete-stack",
        "cloudformation wait stack-gone --stack-name logs",
        "dynamodb update-time-to-live --table-name t --time-to-live-specification Enabled=true,Name=expires_at",
        "dynamodb update-time-to-live --table-name t --time-to-live-specification Enabled=yes,AttributeName=expires_at",
        "dynamodb update-time-to-live --table-name t --time-to-live-specification Enabled=true",
        'dynamodb tag-resource --resource-arn arn --tags [{"Key":"team","Value":"logs","Note":"x"}]',
        "dynamodb tag-resource --resource-arn arn --tags Key=team,Values=logs",
        "dynamodb tag-resource --resource-arn arn --tags",
        "dynamodb update-table --table-name t --deletion-protection-enabled true",
        "dynamodb describe-table --table-name",
        "dynamodb describe-table --table-name t --table",
        "dynamodb describe-table --table-name t --consistent-read",
        "dynamodb describe-table --table-name t --output csv",
        "dynamodb describe-table --table-name t --query Table.[",
        "dynamodb wait table-exists --table-name t --index-name i",
        "sqs receive-message --queue-url q --max-number-of-messages ten",
        "lambda invoke --function-name f --payload {}",
        "lambda invoke --function-name f --payload {} answer.json",
        "lambda invoke --function-name f answer.json another.json",
    ],
)
def test_a_command_that_the_aws_cli_would_refuse_is_refused(command):
    with pytest.raises(ValueError):
        aws_cli.parse(command.split())


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (
            "dynamodb tag-resource --resource-arn a --tags Key=team,Value=logs Key=stage,Value=",
            {"ResourceArn": "a", "Tags": [{"Key": "team", "Value": "logs"}, {"Key": "stage", "Value": ""}]},
        ),
        (
            'dynamodb tag-resource --tags [{"Key":"team","Value":"logs"}] --resource-arn a',
            {"ResourceArn": "a", "Tags": [{"Key": "team", "Value": "logs"}]},
        ),
        (
            "dynamodb update-table --table-name t --no-deletion-protection-enabled --region us-east-1",
            {"TableName": "t", "DeletionProtectionEnabled": False},
        ),
        (
            "lambda invoke --function-name f --payload {} --cli-binary-format raw-in-base64-out answer.json",
            {"FunctionName": "f", "Payload": b"{}"},
        ),
        ("lambda invoke --function-name f --payload e30= answer.json", {"FunctionName": "f", "Payload": b"{}"}),
    ],
)
def test_options_become_the_arguments_of_the_operation(command, arguments):
    assert aws_cli.parse(command.split()).arguments == arguments
