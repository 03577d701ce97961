"""Runs the shell commands of docs/api.md from top to bottom on a local stack; each must succeed.

LOGFERRY_LOCAL_ENV names the stack's local.env, by default that of `make up`. The app `shop` must not exist: the
commands register it and delete it at the end."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from stack.settings import ROOT, from_environment

PAGE = ROOT / "docs" / "api.md"
BLOCK = re.compile(r"(?ms)^### `(?P<route>[^`]+)`|^```sh\n(?P<commands>.*?)^```")
# An answer of 400 or above fails, after some retries: a reader is slower than `ingest`. jq need not be installed:
# the page only selects members with it.
PREAMBLE = r"""
set -euo pipefail
curl() {
  local answer
  for _ in {1..20}; do
    if answer=$(command curl --silent --show-error --fail-with-body "$@"); then printf '%s\n' "$answer"; return; fi
    sleep 1
  done
  printf '%s\n' "$answer" >&2
  return 1
}
jq() {
  "$PYTHON" -c 'import json, sys
value = json.load(sys.stdin)
for name in sys.argv[2].strip(".").split("."):
    value = value[name]
print(value)' "$@"
}
"""


def script(page: str, local_env: pathlib.Path) -> str:
    """Returns the commands of a page as one script that names each route before its commands."""
    lines, route = [PREAMBLE], "the beginning"
    for match in BLOCK.finditer(page):
        if match["route"]:
            route = match["route"]
        elif "aws lambda" not in match["commands"]:  # the AWS CLI is not among the tools
            lines.append(f"echo; echo '== {route}' >&2")
            lines.append(match["commands"].replace(".logferry/local.env", str(local_env)))
    return "\n".join(lines)


def main() -> int:
    local_env = pathlib.Path(os.environ.get("LOGFERRY_LOCAL_ENV") or from_environment().local_env).resolve()
    if not local_env.exists():
        print(f"no local stack: {local_env} does not exist; run `make up`", file=sys.stderr)
        return 1
    if not shutil.which("curl"):
        print("curl is not installed", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        # The page's files are created here, and not in the repository.
        shutil.copy(ROOT / "README.md", folder)
        environment = {**os.environ, "PYTHON": sys.executable}
        commands = script(PAGE.read_text(), local_env)
        done = subprocess.run(
            ["bash", "-c", commands],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
        )
    if done.returncode:
        print(f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}\na command of {PAGE.name} failed", file=sys.stderr)
        return 1
    print(f"{done.stderr.count('== ')} blocks of commands in {PAGE.name} succeeded")
    return 0


if __name__ == "__main__":
    sys.exit(main())
