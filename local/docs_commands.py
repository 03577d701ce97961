"""Runs the shell commands of docs/api.md from top to bottom on a local stack; each must succeed.

LOGFERRY_LOCAL_ENV names the stack's local.env, by default that of `make up`. The app `shop` must not exist: the
commands register it and delete it at the end."""

import pathlib
import re
import shutil
import sys
import tempfile

import commands
from stack.settings import ROOT, local_env_path

PAGE = ROOT / "docs" / "api.md"
BLOCK = re.compile(r"(?ms)^### `(?P<route>[^`]+)`|^```sh\n(?P<commands>.*?)^```")


def script(page: str, local_env: pathlib.Path) -> str:
    """Returns the commands of a page as one script that names each route before its commands."""
    lines, route = [], "the beginning"
    for match in BLOCK.finditer(page):
        if match["route"]:
            route = match["route"]
        elif "aws lambda" not in match["commands"]:  # the AWS CLI is not among the tools
            lines.append(f"echo; echo '== {route}' >&2")
            lines.append(match["commands"].replace(".logferry/local.env", str(local_env)))
    return "\n".join(lines)


def main() -> int:
    local_env = local_env_path()
    if not shutil.which("curl"):
        print("curl is not installed", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        # The page's files are created here, and not in the repository.
        shutil.copy(ROOT / "README.md", folder)
        said = commands.run(script(PAGE.read_text(), local_env), PAGE.name, folder=folder)
    print(f"{said.count('== ')} blocks of commands in {PAGE.name} succeeded")
    return 0


if __name__ == "__main__":
    sys.exit(main())
