"""Gap: below `/_aws/execute-api/{api}`, the slash at the end of a path with one part is lost: `/console/` reaches the
function as `/console`. API Gateway passes it on."""

from ministack import app

PREFIX = "/_aws/execute-api/"


def apply() -> None:
    parse = app._parse_execute_api_url

    def patched(host: str, path: str):
        found = parse(host, path)
        if found and path.startswith(PREFIX) and path.endswith("/"):
            api_id, _, rest = path.removeprefix(PREFIX).partition("/")
            if rest.count("/") == 1:
                return api_id, "$default", f"/{rest}"
        return found

    app._parse_execute_api_url = patched
