#!/usr/bin/env python3
"""Installs the pinned tools of requirements.txt into .logferry/venv.

Needs nothing but Python's standard library; does nothing when the list has not changed."""

import fcntl
import hashlib
import pathlib
import shutil
import subprocess
import sys
import venv

ROOT = pathlib.Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "local" / "requirements.txt"
VENV = ROOT / ".logferry" / "venv"
STAMP = VENV / "installed.sha256"


def wanted_stamp() -> str:
    interpreter = f"{sys.version_info.major}.{sys.version_info.minor}"
    return hashlib.sha256(REQUIREMENTS.read_bytes() + interpreter.encode()).hexdigest()


def install() -> None:
    print("installing the pinned tools into .logferry/venv (once; about a minute)", file=sys.stderr)
    shutil.rmtree(VENV, ignore_errors=True)
    try:
        venv.create(VENV, with_pip=True)
    except subprocess.CalledProcessError:
        sys.exit("Python cannot make a virtual environment; on Debian, install python3-venv")
    pip = [VENV / "bin" / "python", "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", "--requirement", REQUIREMENTS], check=True, stdout=sys.stderr)
    STAMP.write_text(wanted_stamp())


def main() -> int:
    if sys.version_info < (3, 10):
        print("Python 3.10 or newer is needed", file=sys.stderr)
        return 1
    VENV.parent.mkdir(exist_ok=True)
    # Two makes at once must not install over each other.
    with open(VENV.parent / "tools.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not STAMP.exists() or STAMP.read_text() != wanted_stamp():
            install()
    return 0


if __name__ == "__main__":
    sys.exit(main())
