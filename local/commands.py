"""Runs shell commands that a page prints, on a local stack."""

import os
import subprocess
import sys

# An answer of 400 or above fails, after some retries: a reader is slower than `ingest`. jq need not be installed:
# the pages only select members with it.
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


def run(
    commands: str, what: str, env: dict[str, str] | None = None, folder: str | None = None
) -> subprocess.CompletedProcess:
    """Runs commands with `bash` and returns what they print. If one fails, exits with the end of the output; `what`
    names the commands."""
    done = subprocess.run(
        ["bash", "-c", PREAMBLE + commands],
        cwd=folder,
        env={**os.environ, **(env or {}), "PYTHON": sys.executable},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}\na command of {what} failed")
    return done
