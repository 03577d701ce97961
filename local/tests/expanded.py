"""The template as CloudFormation would see it: transformed by SAM, with conditions and intrinsic functions resolved
for one stack, region and set of parameters."""

import functools
import json
import re

import boto3
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

from stack.settings import REGION, ROOT
from stack.template import CODE_URI

ACCOUNT = "123456789012"
NO_VALUE = object()


@functools.cache
def _transformed() -> str:
    source = CODE_URI.sub(r"CodeUri: s3://bucket/\1.zip", (ROOT / "template.yaml").read_text())
    translator = Translator({}, Parser(), boto_session=boto3.session.Session(region_name=REGION))
    return json.dumps(translator.translate(yaml_parse(source), parameter_values={}))


def transformed() -> dict:
    return json.loads(_transformed())


def as_list(value) -> list:
    return value if isinstance(value, list) else [value]


def _is_between(value: str, least, most) -> bool:
    try:
        return float(least) <= float(value) <= float(most)
    except ValueError:
        return False


class Stack:
    """One stack of the template. `resources` holds those that its parameters create, with resolved properties."""

    def __init__(self, name: str = "one", region: str = REGION, **parameters: str):
        self.template, self.name, self.region = transformed(), name, region
        defaults = {key: str(value["Default"]) for key, value in self.template["Parameters"].items()}
        assert parameters.keys() <= defaults.keys()
        self.values = {**defaults, **parameters}
        self.resources = {
            key: {**resource, "Properties": self.resolve(resource.get("Properties", {}))}
            for key, resource in self.template["Resources"].items()
            if "Condition" not in resource or self.condition(resource["Condition"])
        }

    def of_type(self, kind: str) -> dict[str, dict]:
        return {key: value["Properties"] for key, value in self.resources.items() if value["Type"] == kind}

    def refused_by(self) -> list[str]:
        """The reasons for which CloudFormation refuses these parameters before it creates anything."""
        reasons = []
        for key, parameter in self.template["Parameters"].items():
            value = self.values[key]
            if "AllowedPattern" in parameter and not re.fullmatch(parameter["AllowedPattern"], value):
                reasons.append(key)
            if "AllowedValues" in parameter and value not in map(str, parameter["AllowedValues"]):
                reasons.append(key)
            if parameter["Type"] == "Number" and not _is_between(
                value, parameter.get("MinValue", "-inf"), parameter.get("MaxValue", "inf")
            ):
                reasons.append(key)
        for key, rule in self.template["Rules"].items():
            asserted = (self.holds(assertion["Assert"]) for assertion in rule["Assertions"])
            if self.holds(rule["RuleCondition"]) and not all(asserted):
                reasons.append(key)
        return reasons

    def condition(self, name: str) -> bool:
        return self.holds(self.template["Conditions"][name])

    def holds(self, expression) -> bool:
        [(function, argument)] = expression.items()
        if function == "Condition":
            return self.condition(argument)
        if function == "Fn::Equals":
            left, right = (str(self.resolve(side)) for side in argument)
            return left == right
        if function == "Fn::Not":
            return not self.holds(argument[0])
        assert function in ("Fn::Or", "Fn::And")
        return (any if function == "Fn::Or" else all)(self.holds(part) for part in argument)

    def resolve(self, value):
        if isinstance(value, list):
            resolved = [self.resolve(part) for part in value]
            return [part for part in resolved if part is not NO_VALUE]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            [(function, argument)] = value.items()
            if function == "Ref":
                return self._ref(argument)
            if function.startswith("Fn::"):
                return getattr(self, "_" + function.removeprefix("Fn::").lower())(argument)
        resolved = {key: self.resolve(part) for key, part in value.items()}
        return {key: part for key, part in resolved.items() if part is not NO_VALUE}

    def _ref(self, name: str):
        pseudo = {
            "AWS::StackName": self.name, "AWS::Region": self.region, "AWS::AccountId": ACCOUNT,
            "AWS::Partition": "aws", "AWS::URLSuffix": "amazonaws.com", "AWS::NoValue": NO_VALUE,
        }  # fmt: skip
        if name in pseudo:
            return pseudo[name]
        if name in self.values:
            value = self.values[name]
            return value.split(",") if self.template["Parameters"][name]["Type"] == "CommaDelimitedList" else value
        kind = self.template["Resources"][name]["Type"]
        is_arn = kind in ("AWS::SNS::Topic", "AWS::SecretsManager::Secret", "AWS::IAM::ManagedPolicy")
        return self._getatt([name, "Arn"]) if is_arn else self._id(name)

    def _id(self, name: str) -> str:
        return f"{self.name}-{name}"

    def _getatt(self, path) -> str:
        name, attribute = path if isinstance(path, list) else path.split(".", 1)
        if (self.template["Resources"][name]["Type"], attribute) == ("AWS::SecretsManager::Secret", "Id"):
            attribute = "Arn"
        if attribute not in ("Arn", "StreamArn"):
            return f"{self._id(name)}.{attribute}"
        place = f"{self.region}:{ACCOUNT}"
        arn = {
            "AWS::DynamoDB::Table": f"dynamodb:{place}:table/{self._id(name)}",
            "AWS::S3::Bucket": f"s3:::{self._id(name)}",
            "AWS::SQS::Queue": f"sqs:{place}:{self._id(name)}",
            "AWS::SNS::Topic": f"sns:{place}:{self._id(name)}",
            "AWS::Lambda::Function": f"lambda:{place}:function:{self._id(name)}",
            "AWS::Logs::LogGroup": f"logs:{place}:log-group:{self._id(name)}:*",
            "AWS::IAM::Role": f"iam::{ACCOUNT}:role/{self._id(name)}",
            "AWS::IAM::ManagedPolicy": f"iam::{ACCOUNT}:policy/{self._id(name)}",
            "AWS::SecretsManager::Secret": f"secretsmanager:{place}:secret:{self._id(name)}",
            "AWS::Events::Rule": f"events:{place}:rule/{self._id(name)}",
            "AWS::CloudWatch::Alarm": f"cloudwatch:{place}:alarm:{self._id(name)}",
        }[self.template["Resources"][name]["Type"]]
        return f"arn:aws:{arn}" + ("/stream/1" if attribute == "StreamArn" else "")

    def _sub(self, argument) -> str:
        text, names = argument if isinstance(argument, list) else (argument, {})

        def value(match) -> str:
            name = match[1]
            if name in names:
                return self.resolve(names[name])
            return self._getatt(name) if "." in name else self._ref(name)

        return re.sub(r"\$\{([\w.:]+)\}", value, text)

    def _if(self, argument):
        name, yes, no = argument
        return self.resolve(yes if self.condition(name) else no)

    def _split(self, argument) -> list[str]:
        return self.resolve(argument[1]).split(argument[0])

    def _join(self, argument) -> str:
        return argument[0].join(map(str, self.resolve(argument[1])))

    def _findinmap(self, argument) -> str:
        first, second, third = argument
        return self.template["Mappings"][first][second][third]
