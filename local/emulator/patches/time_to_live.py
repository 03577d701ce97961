"""Gap: `TimeToLiveSpecification` of a table created by CloudFormation is ignored, so that nothing expires."""

from ministack.services import dynamodb
from ministack.services.cloudformation import provisioners


def apply() -> None:
    handler = provisioners._RESOURCE_HANDLERS["AWS::DynamoDB::Table"]
    create, update = handler["create"], handler["update"]

    def switch_on(name: str, properties: dict) -> None:
        wanted = properties.get("TimeToLiveSpecification")
        if wanted:
            dynamodb._update_ttl({"TableName": name, "TimeToLiveSpecification": wanted})

    def patched_create(logical_id, properties, stack_name):
        result = create(logical_id, properties, stack_name)
        switch_on(result[0], properties)
        return result

    def patched_update(physical_id, old, new, stack_name, logical_id=None):
        result = update(physical_id, old, new, stack_name, logical_id)
        switch_on(result[0], new)
        return result

    handler["create"], handler["update"] = patched_create, patched_update
