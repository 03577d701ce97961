"""`make test`: all tests, on their own stack. A running stack of `make up` is not touched."""

import collections
import dataclasses
import os
import pathlib
import shutil
import subprocess
import sys

import boto3

from . import emulator, smoke
from .bring_up import bring_up
from .settings import FUNCTIONS, ROOT, Problem, Settings, free_port

STATES = ROOT / ".logferry" / "tests"
# Lines of a failed step's output that are printed again at the end, where runners name what failed.
CLOSING_LINES = 80


def run(chosen: Settings) -> None:
    """Runs Python's tests, starts a stack, runs Rust's and the browser's tests; continues after a failure."""
    tools = pathlib.Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    failed = {}

    def step(what: str, *arguments) -> None:
        print(f"\n== {what}", flush=True)
        code, closing = _echoed(arguments, environment)
        if code:
            failed[what] = closing

    step("the local stack's own tests", sys.executable, "-m", "pytest", "-q", ROOT / "local" / "tests")
    port = int(os.environ.get("LOGFERRY_PORT") or free_port())
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
        # Before the tests, which leave dead letters: the runbook redrives all of them.
        step("the commands and samples of README.md and docs", sys.executable, ROOT / "local" / "docs_commands.py")
        step("the commands of the runbook", sys.executable, ROOT / "local" / "runbook.py")
        # nextest does not run the examples in the documentation.
        step("the examples in the documentation", "cargo", "test", "--workspace", "--doc", "--quiet")
        if shutil.which("cargo-nextest", path=environment["PATH"]):
            runner = ["cargo", "nextest", "run", "--workspace", "--no-fail-fast"]
        else:
            runner = ["cargo", "test", "--workspace", "--no-fail-fast", "--lib", "--bins", "--examples", "--tests"]
        step("Rust's tests, including those of the whole pipeline", *runner)
        environment["PYTHONPATH"] = str(ROOT / "local")
        step("the clients of docs/integrations.md", sys.executable, "-m", "doors")
        step("the browser packages: build, unit tests, tests in Chromium", sys.executable, "-m", "web", "test")
        environment.update(SIZE="1", SECONDS="8", RATIO="0")
        step("a hostile tenant beside an honest one (`make abuse`, smaller)", sys.executable, "-m", "abuse")
    finally:
        emulator.stop(own)
    for what, closing in failed.items():
        print(f"\n== failed: {what}. Its last lines were:\n{closing}", flush=True)
    if failed:
        raise Problem(f"failed: {', '.join(failed)}; the emulator's log: {own.emulator_dir / 'log'}")


def _echoed(arguments: tuple, environment: dict[str, str]) -> tuple[int, str]:
    """Runs a command whose output is shown as it comes; returns its exit code and the output's last lines."""
    closing = collections.deque(maxlen=CLOSING_LINES)
    with subprocess.Popen(
        arguments,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            closing.append(line)
    return process.returncode, "".join(closing)


def _forget_earlier_runs(own: Settings) -> None:
    """Ends the emulators of killed runs and removes their state."""
    for state in STATES.glob("*"):
        owner = state / "owner"
        if not (owner.exists() and emulator.process_alive(owner.read_text())):
            emulator.stop(dataclasses.replace(own, state=state))
            shutil.rmtree(state)
