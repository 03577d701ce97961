"""The console's files: built with Node.js by `make console`, and placed beside the program of `api`.

`make build`, `package` and `deploy` run `make console` first, as a process of its own and without the credentials for
AWS that their environment may contain. CONSOLE=no leaves it out."""

import hashlib
import os
import pathlib
import shutil
import subprocess
import sys

from .settings import ROOT, Problem

WEB = ROOT / "web"
DIST = WEB / "console" / "dist"
STAMP = DIST.parent / ".built.sha256"
SOURCES = ("package-lock.json", "console/package.json", "console/index.html", "console/icon.svg")


def fingerprint() -> str:
    """A hash of what the files are built from."""
    paths = [WEB / name for name in SOURCES]
    for folder in ("scripts", "src"):
        paths += sorted(path for path in (DIST.parent / folder).rglob("*") if path.is_file())
    found = hashlib.sha256()
    for path in paths:
        found.update(f"{path.relative_to(WEB)}\0".encode())
        found.update(path.read_bytes())
    return found.hexdigest()


def built() -> bool:
    """Whether the files are there, and wanted."""
    return os.environ.get("CONSOLE") != "no" and (DIST / "index.html").exists()


def is_current() -> bool:
    return built() and STAMP.exists() and STAMP.read_text() == fingerprint()


def build() -> None:
    """Builds the files, unless they are there and up to date."""
    if is_current() or os.environ.get("CONSOLE") == "no":
        return
    import web  # needs the packages of npm, which only this needs

    print("building the console", file=sys.stderr)
    wanted = fingerprint()
    try:
        web.install()
        done = web.run("npm", "run", "--silent", "build", "--workspace", "console")
    except (web.Problem, OSError, subprocess.SubprocessError) as problem:
        raise Problem(f"the console could not be built: {problem}") from problem
    if not done:
        raise Problem("the console could not be built; see the errors above")
    STAMP.write_text(wanted)


def build_if_possible() -> None:
    """As `build`. Without Node.js or its packages, the stack works without the console."""
    try:
        build()
    except Problem as problem:
        print(f"{problem}\nthe stack comes without it; `make console` tries again", file=sys.stderr)


def place(folder: pathlib.Path) -> None:
    """Copies the files to where the program looks for them; removes those of an earlier build."""
    shutil.rmtree(folder, ignore_errors=True)
    if built():
        shutil.copytree(DIST, folder)
