"""Gap: `Ref` of a secret is its name. On AWS it is the ARN, which a policy may name and a client may use."""

from ministack.services.cloudformation import provisioners


def apply() -> None:
    handler = provisioners._RESOURCE_HANDLERS["AWS::SecretsManager::Secret"]
    create, update, delete = handler["create"], handler["update"], handler["delete"]
    secrets = provisioners._sm._secrets

    def name_of(physical_id: str) -> str:
        """The name that the emulator keeps a secret under."""
        return next((name for name in list(secrets) if secrets[name]["ARN"] == physical_id), physical_id)

    def with_arn(result: tuple) -> tuple:
        name, attributes = result
        return secrets[name]["ARN"] if name in secrets else name, attributes

    def patched_create(*args, **kwargs):
        return with_arn(create(*args, **kwargs))

    def patched_update(physical_id, *args, **kwargs):
        return with_arn(update(name_of(physical_id), *args, **kwargs))

    def patched_delete(physical_id, *args, **kwargs):
        return delete(name_of(physical_id), *args, **kwargs)

    handler["create"], handler["update"], handler["delete"] = patched_create, patched_update, patched_delete
