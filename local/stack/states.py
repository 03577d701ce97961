"""The states of a CloudFormation stack: which can be deployed to, and what to do in the others.
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html"""

from .settings import Problem

DEPLOYED = ("CREATE_COMPLETE", "UPDATE_COMPLETE")
UPDATABLE = (*DEPLOYED, "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE", "IMPORT_ROLLBACK_COMPLETE")
# Left by a change set that was never executed; contains no resources.
EMPTY = "REVIEW_IN_PROGRESS"
# A first deployment failed and was undone. CloudFormation neither updates nor creates such a stack.
NEVER_CREATED = "ROLLBACK_COMPLETE"

HELP = {
    "UPDATE_ROLLBACK_FAILED": """An update failed, and so did its rollback. Find the resource that did not roll back:
  aws cloudformation describe-stack-events --stack-name {stack} --region {region} \\
    --query "StackEvents[?ResourceStatus=='UPDATE_FAILED'].[LogicalResourceId,ResourceStatusReason]"
Fix the cause, then finish the rollback, and deploy again:
  aws cloudformation continue-update-rollback --stack-name {stack} --region {region}
If a resource cannot be rolled back, add `--resources-to-skip` with its logical id.""",
    "DELETE_FAILED": """Its deletion failed. Find the resource that could not be deleted:
  aws cloudformation describe-stack-events --stack-name {stack} --region {region} \\
    --query "StackEvents[?ResourceStatus=='DELETE_FAILED'].[LogicalResourceId,ResourceStatusReason]"
Fix the cause and delete it again, or keep that resource with `--retain-resources` and its logical id:
  aws cloudformation delete-stack --stack-name {stack} --region {region}""",
}
# The first deployment failed, and some of its resources are left.
HELP["CREATE_FAILED"] = HELP["ROLLBACK_FAILED"] = """Its first deployment failed. Delete it, then deploy again:
  aws cloudformation delete-stack --stack-name {stack} --region {region}
  aws cloudformation wait stack-delete-complete --stack-name {stack} --region {region}"""
HELP["IMPORT_ROLLBACK_FAILED"] = HELP["UPDATE_ROLLBACK_FAILED"]
UNDER_WAY = """Another operation on the stack is under way. Wait until it ends, then deploy again:
  aws cloudformation describe-stacks --stack-name {stack} --region {region} --query "Stacks[0].StackStatus\""""


def exists(stack: dict | None) -> bool:
    return stack is not None and stack["StackStatus"] not in (EMPTY, NEVER_CREATED)


def check(stack: dict | None, name: str, region: str) -> None:
    """Raises `Problem` with the commands that lead on, if the stack's state accepts no deployment."""
    status = stack["StackStatus"] if stack else None
    if status in (None, EMPTY, NEVER_CREATED, *UPDATABLE):
        return
    default = UNDER_WAY if status.endswith("IN_PROGRESS") else "CloudFormation does not deploy to such a stack."
    raise Problem(f"the stack {name} is {status}. {HELP.get(status, default).format(stack=name, region=region)}")
