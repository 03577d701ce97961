"""Runs shell commands that a page prints, on a local stack."""

import os
import pathlib
import subprocess
import sys

from stack.binaries import TARGET

# An answer of 400 or above fails, after some retries: a reader is slower than `ingest`. jq and the AWS CLI need not be
# installed: the pages only select members with jq. The stack runs already, so `make up` and `make deploy` are
# skipped. `cargo run` calls the compiled command line.
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
aws() { "$PYTHON" "$LOCAL/aws_cli.py" "$@"; }
make() { case "$1" in up | deploy) ;; *) command make --no-print-directory -C "$LOCAL/.." "$@" ;; esac; }
cargo() {
  while [ "$1" != -- ]; do shift; done
  shift
  logferry "$@"
}
logferry() { "$LOGFERRY" "$@"; }
"""


def run(
    commands: str, what: str, env: dict[str, str] | None = None, folder: str | None = None
) -> subprocess.CompletedProcess:
    """Runs commands with `bash` and returns what they print. If one fails, exits with the end of the output; `what`
    names the commands."""
    local = pathlib.Path(__file__).resolve().parent
    program = os.environ.get("LOGFERRY") or str(TARGET / "debug" / "logferry")
    done = subprocess.run(
        ["bash", "-c", PREAMBLE + commands],
        cwd=folder,
        env={**os.environ, "PYTHON": sys.executable, "LOCAL": str(local), "LOGFERRY": program, **(env or {})},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}\na command of {what} failed")
    return done
