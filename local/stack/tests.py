"""`make test`: all tests, on their own stack. A running stack of `make up` is not touched."""

import dataclasses
import os
import pathlib
import shutil
import socket
import subprocess
import sys

import boto3

import web

from . import emulator, smoke
from .bring_up import bring_up
from .settings import FUNCTIONS, ROOT, Problem, Settings

STATES = ROOT / ".logferry" / "tests"


def run(chosen: Settings) -> None:
    """Runs Python's tests, starts a stack, runs Rust's and the browser's tests; continues after a failure."""
    tools = pathlib.Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    failed = []

    def step(what: str, *arguments) -> None:
        print(f"\n== {what}", flush=True)
        if subprocess.run(arguments, cwd=ROOT, env=environment).returncode:
            failed.append(what)

    def web_step(what: str, run_web) -> None:
        print(f"\n== {what}", flush=True)
        try:
            run_web()
        except web.Problem as problem:
            print(f"logferry: {problem}", file=sys.stderr)
            failed.append(what)

    step("the local stack's own tests", sys.executable, "-m", "pytest", "-q", ROOT / "local" / "tests")
    port = int(os.environ.get("LOGFERRY_PORT") or _free_port())
    own = dataclasses.replace(
        chosen,
        port=port,
        # By port, so that concurrent runs do not share it.
        state=STATES / str(port),
    )
    _forget_earlier_runs(own)
    own.state.mkdir(parents=True)
    (own.state / "owner").write_text(emulator.this_process())
    try:
        print("\n== a stack for the tests", flush=True)
        values, seconds = bring_up(own, with_tests=True)
        print(f"up after {seconds:.0f} s without compilation, {own.profile} binaries, {own.endpoint}")
        print("\n== the test that `make deploy` ends with")
        functions = boto3.client("lambda", **own.client_config)
        names = {f"{name.capitalize()}FunctionName": values[f"FN_{name.upper()}"] for name in FUNCTIONS}
        smoke.run(functions, names, values["API_URL"])
        environment["LOGFERRY_LOCAL_ENV"] = str(own.local_env)
        # nextest does not run the examples in the documentation.
        step("the examples in the documentation", "cargo", "test", "--workspace", "--doc", "--quiet")
        if shutil.which("cargo-nextest", path=environment["PATH"]):
            runner = ["cargo", "nextest", "run", "--workspace", "--no-fail-fast"]
        else:
            runner = ["cargo", "test", "--workspace", "--no-fail-fast", "--lib", "--bins", "--tests"]
        step("Rust's tests, including those of the whole pipeline", *runner)
        step("the commands of docs/api.md", sys.executable, ROOT / "local" / "docs_commands.py")
        step("the commands of the runbook", sys.executable, ROOT / "local" / "runbook.py")
        web_step("the browser packages: build and unit tests", lambda: (web.build(), web.unit()))
        local_env = {"LOGFERRY_LOCAL_ENV": str(own.local_env)}
        web_step("the browser packages in Chromium", lambda: web.browser(local_env))
        environment.update(SIZE="1", SECONDS="8", RATIO="0", PYTHONPATH=str(ROOT / "local"))
        step("a hostile tenant beside an honest one (`make abuse`, smaller)", sys.executable, "-m", "abuse")
    finally:
        emulator.stop(own)
    if failed:
        raise Problem(f"failed: {', '.join(failed)}; the emulator's log: {own.emulator_dir / 'log'}")


def _forget_earlier_runs(own: Settings) -> None:
    """Ends the emulators of killed runs and removes their state."""
    for state in STATES.glob("*"):
        owner = state / "owner"
        if not (owner.exists() and emulator.process_alive(owner.read_text())):
            emulator.stop(dataclasses.replace(own, state=state))
            shutil.rmtree(state)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
