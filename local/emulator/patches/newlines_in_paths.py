"""Gap: a path with an encoded newline reaches the route $default, because the emulator's pattern of `{proxy+}` stops at
a newline. API Gateway takes any character."""

from ministack.services import apigateway

# Private use, so that no path has it.
STAND_IN = "\uf8ff"


def apply() -> None:
    extract = apigateway._extract_path_params

    def patched(route_path: str, request_path: str):
        found = extract(route_path, request_path.replace("\n", STAND_IN))
        return found and {name: value.replace(STAND_IN, "\n") for name, value in found.items()}

    apigateway._extract_path_params = patched
