"""`sam validate` without the SAM CLI (340 MB): runs the SAM translator on a template, template.yaml by default.

cfn-lint alone accepts some events of functions that SAM refuses."""

import pathlib
import sys

import boto3
from samtranslator.parser.parser import Parser
from samtranslator.public.exceptions import InvalidDocumentException
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

from stack.settings import REGION, ROOT
from stack.template import CODE_URI


def problems(template: str) -> list[str]:
    """What SAM refuses in a template."""
    # The translator knows code in S3 only; `make deploy` uploads it.
    document = yaml_parse(CODE_URI.sub(r"CodeUri: s3://bucket/\1.zip", template))
    translator = Translator({}, Parser(), boto_session=boto3.session.Session(region_name=REGION))
    try:
        translator.translate(document, parameter_values={})
    except InvalidDocumentException as refusal:
        return [cause.message for cause in refusal.causes]
    return []


def main(arguments: list[str]) -> int:
    path = pathlib.Path(arguments[0]) if arguments else ROOT / "template.yaml"
    found = problems(path.read_text())
    for problem in found:
        print(f"{path.name}: {problem}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
