"""Gap: the CORS settings of an HTTP API created by CloudFormation are stored with CloudFormation's names
(`AllowOrigins`) and read with the API's (`allowOrigins`), so that every preflight is refused."""

from ministack.services import apigateway
from ministack.services.cloudformation import provisioners


def _with_api_names(settings: dict) -> dict:
    return {name[0].lower() + name[1:]: value for name, value in settings.items()}


def apply() -> None:
    handler = provisioners._RESOURCE_HANDLERS["AWS::ApiGatewayV2::Api"]
    create, update = handler["create"], handler["update"]

    def rename(api_id: str) -> None:
        api = apigateway._apis[api_id]
        if api.get("corsConfiguration"):
            api["corsConfiguration"] = _with_api_names(api["corsConfiguration"])

    def patched_create(*args, **kwargs):
        result = create(*args, **kwargs)
        rename(result[0])
        return result

    def patched_update(*args, **kwargs):
        result = update(*args, **kwargs)
        rename(result[0])
        return result

    handler["create"], handler["update"] = patched_create, patched_update
