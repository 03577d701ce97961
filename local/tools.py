#!/usr/bin/env python3
"""Installs the pinned tools of requirements.txt into .logferry/venv; with the argument `deploy`, those of
requirements-deploy.txt into .logferry/deploy.

Needs only Python's standard library. Does nothing if the list has not changed since the last run."""

import fcntl
import hashlib
import pathlib
import shutil
import subprocess
import sys
import venv

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOR_DEPLOYMENT = sys.argv[1:] == ["deploy"]
REQUIREMENTS = ROOT / "local" / ("requirements-deploy.txt" if FOR_DEPLOYMENT else "requirements.txt")
VENV = ROOT / ".logferry" / ("deploy" if FOR_DEPLOYMENT else "venv")
STAMP = VENV / "installed.sha256"
INTERPRETER = f"{sys.version_info.major}.{sys.version_info.minor}"


def wanted_stamp() -> str:
    return hashlib.sha256(REQUIREMENTS.read_bytes() + INTERPRETER.encode()).hexdigest()


def install() -> None:
    folder = VENV.relative_to(ROOT)
    print(f"installing the pinned tools into {folder} (about a minute the first time)", file=sys.stderr)
    # A complete environment is updated in place: a running emulator uses its files.
    if not (STAMP.exists() and (VENV / "bin" / f"python{INTERPRETER}").exists()):
        shutil.rmtree(VENV, ignore_errors=True)
        try:
            venv.create(VENV, with_pip=True)
        except subprocess.CalledProcessError:
            sys.exit("Python cannot create a virtual environment; on Debian, install python3-venv")
    pip = [VENV / "bin" / "python", "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", "--requirement", REQUIREMENTS], check=True, stdout=sys.stderr)
    STAMP.write_text(wanted_stamp())


def main() -> int:
    if sys.version_info < (3, 11):
        print("Python 3.11 or later is required", file=sys.stderr)
        return 1
    VENV.parent.mkdir(exist_ok=True)
    # Two concurrent runs of make must not install into the same folder.
    with open(VENV.parent / "tools.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not STAMP.exists() or STAMP.read_text() != wanted_stamp():
            install()
    return 0


if __name__ == "__main__":
    sys.exit(main())
