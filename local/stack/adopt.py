"""Takes existing tables and buckets into a new stack: what a deleted stack retained, or a table restored from a
backup. A change set of type IMPORT creates a stack of these alone; the deployment after it adds the rest."""

import dataclasses
import json
import time

from . import deploy, states, template
from .settings import Problem

IDENTIFIERS = {"AWS::DynamoDB::Table": "TableName", "AWS::S3::Bucket": "BucketName"}


def adoptable(source: str) -> dict[str, str]:
    """The resources that can be adopted, with their types."""
    resources = template.load(source)["Resources"]
    return {name: one["Type"] for name, one in resources.items() if one["Type"] in IDENTIFIERS}


def check(source: str, wanted: dict[str, str], present: dict | None, stack: str) -> None:
    unknown = wanted.keys() - adoptable(source).keys()
    if unknown:
        known = ", ".join(sorted(adoptable(source)))
        raise Problem(f"ADOPT: {', '.join(sorted(unknown))} cannot be adopted, only {known}")
    if states.exists(present):
        raise Problem(
            f"ADOPT: the stack {stack} exists; only a new stack adopts tables and buckets. If it has adopted them "
            "already, deploy without ADOPT"
        )


def adopt(target: deploy.Target, wanted: dict[str, str]) -> deploy.Target:
    """Creates the stack with the wanted resources, by logical id; returns the target of the deployment after it."""
    source, cloudformation = template.text(), target.client("cloudformation")
    check(source, wanted, deploy.describe(cloudformation, target.stack), target.stack)
    parameters = dict(target.parameters)
    if "LogBucket" in wanted:
        parameters["LogBucketName"] = wanted["LogBucket"]
    kinds = adoptable(source)
    made = cloudformation.create_change_set(
        StackName=target.stack,
        ChangeSetName=f"adopt-{time.time_ns()}",
        ChangeSetType="IMPORT",
        TemplateBody=only(source, wanted),
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
        ResourcesToImport=[
            {
                "ResourceType": kinds[name],
                "LogicalResourceId": name,
                "ResourceIdentifier": {IDENTIFIERS[kinds[name]]: physical},
            }
            for name, physical in wanted.items()
        ],
    )
    described = deploy.change_set_settled(cloudformation, target, made["Id"])
    if described["Status"] == "FAILED":
        reason = described.get("StatusReason", "")
        cloudformation.delete_stack(StackName=target.stack)
        raise Problem(f"CloudFormation cannot adopt these: {reason}")
    names = ", ".join(f"{name} ({physical})" for name, physical in wanted.items())
    if target.asks and not deploy.agrees(f"adopt {names}, and create the rest?"):
        cloudformation.delete_stack(StackName=target.stack)
        raise Problem("nothing was changed")
    cloudformation.execute_change_set(ChangeSetName=made["Id"])
    stack = deploy.settled(cloudformation, target, made["StackId"])
    if stack["StackStatus"] != "IMPORT_COMPLETE":
        raise Problem(f"the stack could not adopt them and is {stack['StackStatus']}")
    print(f"adopted {names}")
    return dataclasses.replace(target, parameters=parameters, asks=False)


def only(source: str, wanted) -> str:
    """The template of the wanted resources alone. An import accepts no other resource and no output."""
    document = template.load(source)
    return json.dumps(template.long_forms({
        "AWSTemplateFormatVersion": document["AWSTemplateFormatVersion"],
        "Parameters": document["Parameters"],
        "Conditions": document["Conditions"],
        "Resources": {name: document["Resources"][name] for name in wanted},
    }))  # fmt: skip
