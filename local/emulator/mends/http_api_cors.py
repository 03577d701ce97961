"""Gap: CORS of an HTTP API made by CloudFormation is stored under CloudFormation's names
(`AllowOrigins`) and looked up under the API's (`allowOrigins`), so every preflight is refused."""

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

    def mended_create(*args, **kwargs):
        result = create(*args, **kwargs)
        rename(result[0])
        return result

    def mended_update(*args, **kwargs):
        result = update(*args, **kwargs)
        rename(result[0])
        return result

    handler["create"], handler["update"] = mended_create, mended_update
