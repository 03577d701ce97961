#!/usr/bin/env python3
"""`make fuzz-api`: schemathesis sends requests to the running local stack that its OpenAPI document allows, and
requests that it does not. No answer may be a 5xx, or have an undocumented status, type or shape."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import urllib.request
import uuid
import venv

from stack.settings import ROOT, local_env

SCHEMATHESIS = "schemathesis==4.32.5"
HOOKS = ROOT / "local" / "fuzz_hooks.py"
# A separate environment, so that it does not change the versions that the emulator pins.
VENV = ROOT / ".logferry" / "fuzz"
# Not ignored_auth: a request without any credential is a 400 here, and it expects a 401.
CHECKS = ",".join(
    [
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
        "negative_data_rejection",
        "unsupported_method",
    ]
)
# Refusals, by the statuses that say them; 413 is that of a size over the limit.
CONFIG = """[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 428, 429]

"""


def installed() -> pathlib.Path:
    program = VENV / "bin" / "schemathesis"
    if not program.exists():
        venv.create(VENV, with_pip=True)
        pip = [VENV / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        subprocess.run([*pip, SCHEMATHESIS], check=True)
    return program


def register(env: dict[str, str]) -> tuple[str, str]:
    app_id = f"fuzz-{uuid.uuid4().hex[:12]}"
    request = urllib.request.Request(
        f"{env['API_URL']}/apps",
        data=json.dumps({"app_id": app_id, "name": "fuzz"}).encode(),
        headers={"X-Admin-Key": env["ADMIN_KEY"], "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        return app_id, json.load(answer)["data"]["api_key"]


def main() -> int:
    env = local_env()
    program = installed()
    app_id, key = register(env)
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        general = pathlib.Path(folder) / "general.toml"
        general.write_text(CONFIG)
        config = pathlib.Path(folder) / "schemathesis.toml"
        config.write_text(CONFIG + f'[parameters]\n"path.id" = "{app_id}"\n')
        for caller, header, more in [
            # DELETE would remove the run's own app.
            ("the app", f"X-API-Key: {key}", ["--config-file", config, "run", "--exclude-method", "DELETE"]),
            ("the administration", f"X-Admin-Key: {env['ADMIN_KEY']}", ["--config-file", general, "run"]),
        ]:
            print(f"\n== as {caller}", flush=True)
            options = ["--phases", "examples,coverage,fuzzing,stateful", "--seed", "1"]
            options += ["--suppress-health-check", "all"]
            options += ["--max-examples", os.environ.get("EXAMPLES", "50"), "-c", CHECKS, "-H", header]
            command = [program, *more, *options, "--url", env["API_URL"], f"{env['API_URL']}/openapi.json"]
            environment = {**os.environ, "SCHEMATHESIS_HOOKS": str(HOOKS)}
            failed |= subprocess.run(command, cwd=folder, env=environment).returncode
    return failed


if __name__ == "__main__":
    sys.exit(main())
