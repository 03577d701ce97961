"""Gap: a stack takes over a function or a log group that exists already. AWS refuses to create it:
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-properties-name.html"""

from ministack.services import cloudwatch_logs, lambda_svc
from ministack.services.cloudformation import provisioners

STORES = {
    "AWS::Lambda::Function": ("FunctionName", lambda_svc._functions),
    "AWS::Logs::LogGroup": ("LogGroupName", cloudwatch_logs._log_groups),
}


def apply() -> None:
    for kind, (member, store) in STORES.items():
        handler = provisioners._RESOURCE_HANDLERS[kind]
        handler["create"] = _refusing(handler["create"], kind, member, store)


def _refusing(create, kind: str, member: str, store):
    def patched_create(logical_id, properties, stack_name):
        name = properties.get(member)
        if name and name in store:
            raise ValueError(f"Resource of type '{kind}' with identifier '{name}' already exists.")
        return create(logical_id, properties, stack_name)

    return patched_create
