"""`make test`: everything there is, against a stack of its own that leaves a running one alone."""

import dataclasses
import os
import pathlib
import shutil
import socket
import subprocess
import sys

from . import command, emulator
from .settings import ROOT, Problem, Settings

# Quick to compile and shared with the tests' own build; PROFILE=release tests what is deployed.
DEFAULT_PROFILE = "dev"


def run(chosen: Settings) -> None:
    """Python's tests, then a stack, then Rust's; raises when something failed."""
    tools = pathlib.Path(sys.executable).parent
    _step("the local stack's own tests", [sys.executable, "-m", "pytest", "-q", ROOT / "local" / "tests"])
    own = dataclasses.replace(
        chosen,
        port=int(os.environ.get("LOGFERRY_PORT") or _free_port()),
        state=ROOT / ".logferry" / "test",
        profile=os.environ.get("PROFILE") or DEFAULT_PROFILE,
    )
    try:
        command.up(own)
        environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
        environment["LOGFERRY_LOCAL_ENV"] = str(own.local_env)
        if shutil.which("cargo-nextest", path=environment["PATH"]):
            runner = ["cargo", "nextest", "run", "--workspace", "--no-fail-fast"]
        else:
            runner = ["cargo", "test", "--workspace", "--no-fail-fast", "--lib", "--bins", "--tests"]
        # Examples in the documentation are tests too; nextest does not run them.
        _step("the examples in the documentation", ["cargo", "test", "--workspace", "--doc", "--quiet"], environment)
        _step("Rust's tests, those of the whole pipe included", runner, environment)
    finally:
        emulator.stop(own)


def _step(what: str, arguments: list, environment: dict[str, str] | None = None) -> None:
    print(f"\n== {what}", flush=True)
    if subprocess.run(arguments, cwd=ROOT, env=environment).returncode:
        raise Problem(f"{what} failed")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
