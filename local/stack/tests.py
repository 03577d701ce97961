"""`make test`: all tests, on stacks of their own. A running stack of `make up` is not touched."""

import dataclasses
import os
import pathlib
import shutil
import sys

import boto3

from steps import Step, Steps

from . import binaries, console, emulator, smoke
from .bring_up import bring_up
from .settings import FUNCTIONS, ROOT, Problem, Settings, free_port

STATES = ROOT / ".logferry" / "tests"
# A small `make abuse`.
ABUSE = {"SIZE": "1", "SECONDS": "8", "RATIO": "0"}


def run(chosen: Settings) -> None:
    """Runs all tests; continues after a failure. Waiting for the network and for the stacks is spread over the work of
    the compiler and of Rust's tests: Python's and the browser packages' own tests run beside the compilation, the
    pages' commands, the clients and the browser's tests beside Rust's, each on a stack that the other does not see."""
    tools = pathlib.Path(sys.executable).parent
    steps = Steps(
        ROOT,
        {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT / "local")},
    )
    stacks = [_own(chosen, os.environ.get("LOGFERRY_PORT")), _own(chosen, None)]
    _forget_earlier_runs(stacks[0])
    for own in stacks:
        own.state.mkdir(parents=True)
        (own.state / "owner").write_text(emulator.this_process())
    try:
        with steps.timed("the console"):
            console.build_if_possible()
        with steps.beside(*_without_a_stack()), steps.timed("compilation"):
            binaries.compile_all(chosen.profile, with_tests=True)
        with steps.timed("two stacks, and the test that `make deploy` ends with"):
            for own in stacks:
                _up(own)
        of_rust, of_the_others = ({"LOGFERRY_LOCAL_ENV": str(own.local_env)} for own in stacks)
        with steps.beside(*_of_pages_clients_and_browsers(of_the_others)):
            # nextest does not run the examples in the documentation.
            steps.run(
                "the examples in the documentation", "cargo", "test", "--workspace", "--doc", "--quiet", **of_rust
            )
            steps.run("Rust's tests, including those of the whole pipeline", *_runner(steps), **of_rust)
            steps.run(
                "a hostile tenant beside an honest one (`make abuse`, smaller)",
                *(sys.executable, "-m", "abuse"), **of_rust, **ABUSE,
            )  # fmt: skip
    finally:
        for own in stacks:
            emulator.stop(own)
    print(steps.closing(), flush=True)
    if steps.failed:
        logs = ", ".join(str(own.emulator_dir / "log") for own in stacks)
        raise Problem(f"failed: {', '.join(steps.failed)}; the emulators' logs: {logs}")


def _own(chosen: Settings, port: str | None) -> Settings:
    """A stack whose state is named by its port, so that concurrent runs do not share it."""
    number = int(port or free_port())
    return dataclasses.replace(chosen, port=number, state=STATES / str(number))


def _up(own: Settings) -> None:
    values, seconds = bring_up(own, with_tests=True)
    print(f"up after {seconds:.0f} s without compilation, {own.profile} binaries, {own.endpoint}")
    functions = boto3.client("lambda", **own.client_config)
    names = {f"{name.capitalize()}FunctionName": values[f"FN_{name.upper()}"] for name in FUNCTIONS}
    smoke.run(functions, names, values["API_URL"])


def _without_a_stack() -> list[Step]:
    python = sys.executable
    return [
        Step("the local stack's own tests", (python, "-m", "pytest", "-q", ROOT / "local" / "tests")),
        Step("the browser packages: build, unit tests", (python, "-m", "web", "prepare")),
        Step("installing the clients of docs/integrations.md", (python, "-m", "doors", "install")),
    ]


def _of_pages_clients_and_browsers(stack: dict[str, str]) -> list[Step]:
    python = sys.executable
    return [
        # Before those that leave dead letters: the runbook redrives all of them.
        Step("the commands and samples of README.md and docs", (python, ROOT / "local" / "docs_commands.py"), stack),
        Step("the commands of the runbook", (python, ROOT / "local" / "runbook.py"), stack),
        Step("the clients of docs/integrations.md", (python, "-m", "doors"), stack),
        Step("the browser packages: tests in Chromium", (python, "-m", "web", "browser"), stack),
    ]


def _runner(steps: Steps) -> tuple[str, ...]:
    if shutil.which("cargo-nextest", path=steps.environment["PATH"]):
        return ("cargo", "nextest", "run", "--workspace", "--no-fail-fast")
    return ("cargo", "test", "--workspace", "--no-fail-fast", "--lib", "--bins", "--examples", "--tests")


def _forget_earlier_runs(own: Settings) -> None:
    """Ends the emulators of killed runs and removes their state."""
    for state in STATES.glob("*"):
        owner = state / "owner"
        if not (owner.exists() and emulator.process_alive(owner.read_text())):
            emulator.stop(dataclasses.replace(own, state=state))
            shutil.rmtree(state)
