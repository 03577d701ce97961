"""Gap: the body of a request with `Content-Encoding` is decoded as text if its type is a text's, which
destroys it. API Gateway passes a body that is binary in base64:
https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html"""

import contextvars

from ministack.services import apigateway

ENCODED = contextvars.ContextVar("encoded", default=False)


def apply() -> None:
    is_text, invoke = apigateway._v2_request_body_is_text, apigateway._invoke_lambda_proxy

    def patched_is_text(content_type):
        return is_text(content_type) and not ENCODED.get()

    async def patched_invoke(integration, api_id, stage, path, method, headers, *args, **kwargs):
        ENCODED.set(headers.get("content-encoding", "identity") != "identity")
        return await invoke(integration, api_id, stage, path, method, headers, *args, **kwargs)

    apigateway._v2_request_body_is_text = patched_is_text
    apigateway._invoke_lambda_proxy = patched_invoke
