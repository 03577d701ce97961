#!/usr/bin/env python3
"""`make doctor`, first part: what this machine lacks for the targets of the Makefile, and how to get it.

Needs only Python's standard library, because it runs before anything is installed."""

from __future__ import annotations  # it must run, and say so, on a Python that is too old

import dataclasses
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
# The version that requirements.txt's packages need.
PYTHON = (3, 11)
# Compiled crates, tools and npm packages after `make test`.
DISK_GB = 15
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@dataclasses.dataclass
class Finding:
    """What a check found. `verdict` is ok, note (something optional is missing) or missing."""

    verdict: str
    what: str
    text: str

    def __str__(self) -> str:
        return f"  {self.verdict:<8} {self.what:<14} {self.text}"


def judged(what: str, fine: bool, text: str, otherwise: str, optional: bool = False) -> Finding:
    if fine:
        return Finding("ok", what, text)
    return Finding("note" if optional else "missing", what, otherwise)


def output_of(*command: str) -> str:
    """What a command prints; empty if it cannot be run or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def version(text: str) -> tuple[int, ...]:
    found = re.search(r"\d+(\.\d+)+", text)
    return tuple(map(int, found[0].split("."))) if found else ()


def python() -> list[Finding]:
    found, wanted = ".".join(map(str, sys.version_info[:3])), ".".join(map(str, PYTHON))
    return [
        judged("Python", sys.version_info >= PYTHON, found, f"{found}, but {wanted} or later is required"),
        judged(
            "venv",
            bool(output_of(sys.executable, "-c", "import venv, ensurepip; print('there')")),
            "can create virtual environments",
            "Python cannot create virtual environments; on Debian, install python3-venv",
        ),
    ]


def rust() -> list[Finding]:
    wanted = re.search(r'(?m)^rust-version = "([\d.]+)"', (ROOT / "Cargo.toml").read_text())[1]
    shown = output_of("rustc", "--version")
    fine = version(shown) >= version(wanted)
    have = shown or "rustc is not installed"
    cc = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    return [
        judged("Rust", fine, shown, f"{have}; {wanted} or later is required, see https://rustup.rs"),
        judged("C compiler", bool(cc), str(cc), "Rust needs a linker; on Debian, install gcc and libc6-dev"),
    ]


def disk() -> Finding:
    free = shutil.disk_usage(ROOT).free / 1e9
    return judged(
        "disk", free >= DISK_GB, f"{free:.0f} GB free", f"{free:.0f} GB free; `make test` needs about {DISK_GB} GB"
    )


def port(environment=os.environ) -> Finding:
    """Whether the port of the local stack is free, or used by that stack."""
    given = environment.get("LOGFERRY_PORT") or "4566"
    if not given.isdigit() or not 0 < int(given) < 65536:
        return Finding("missing", "port", f"LOGFERRY_PORT must be a port number, not {given!r}")
    with socket.socket() as probe:
        probe.settimeout(5)
        taken = probe.connect_ex(("127.0.0.1", int(given))) == 0
    if not taken:
        return Finding("ok", "port", f"{given} is free")
    local_env = pathlib.Path(ROOT, environment.get("LOGFERRY_STATE") or ".logferry", "local.env")
    if local_env.exists() and f"AWS_ENDPOINT_URL=http://127.0.0.1:{given}\n" in local_env.read_text():
        return Finding("ok", "port", f"{given} is used by the local stack")
    return Finding("missing", "port", f"{given} is in use by another program: set LOGFERRY_PORT to a free port")


def optional() -> list[Finding]:
    browser = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUMS)), None)
    installs = os.geteuid() == 0 and shutil.which("apt-get")
    docker = output_of("docker", "info", "--format", "{{.ServerVersion}}")
    return [
        judged(
            "git",
            bool(shutil.which("git")),
            "is installed",
            "the tests of upgrades read earlier templates",
            optional=True,
        ),
        judged(
            "curl", bool(shutil.which("curl")), "is installed", "for the samples of the documentation", optional=True
        ),
        judged("jq", bool(shutil.which("jq")), "is installed", "for the samples of the documentation", optional=True),
        judged(
            "Chromium",
            bool(browser or installs),
            browser or "`make test` installs it",
            "for the browser's tests; on Debian, install chromium, or name one in CHROMIUM",
            optional=True,
        ),
        judged("Docker", bool(docker), f"engine {docker}", "no engine answers; for `make sam-local`", optional=True),
    ]


def shell(environment=os.environ) -> Finding | None:
    if not environment.get("AWS_ENDPOINT_URL"):
        return None
    return Finding(
        "note", "shell", f"AWS_ENDPOINT_URL is {environment['AWS_ENDPOINT_URL']}: AWS is not reached from here"
    )


def machine() -> list[Finding]:
    found = [*python(), *rust(), disk(), port(), *optional(), shell()]
    return [one for one in found if one]


def main() -> int:
    print("this machine")
    found = machine()
    print(*found, sep="\n")
    return int(any(one.verdict == "missing" for one in found))


if __name__ == "__main__":
    sys.exit(main())
