"""Compiles the functions and packs each into a zip for Lambda.

dev: `cargo build` into target/lambda-dev, the default for local work. It compiles in minutes, shares its
dependencies with the tests, and optimises the crates of the hot path.
release: cargo-lambda into target/lambda, used by `build` and `deploy`.
BUILD=no uses the last build.

A function's folder contains its program, `bootstrap`, and what the program finds beside it: for `api`, the console."""

import hashlib
import io
import os
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

from . import console
from .settings import FUNCTIONS, ROOT, Problem

# e_machine of an ELF header.
MACHINES = {62: "x86_64", 183: "arm64"}
# https://docs.aws.amazon.com/linux/al2023/ug/compare-with-al2.html
LAMBDA_GLIBC_MINOR = 34
TARGET = ROOT / (os.environ.get("CARGO_TARGET_DIR") or "target")


def build(profile: str, architecture: str = "x86_64", with_tests: bool = False) -> pathlib.Path:
    """Compiles all functions, and places what they find beside them; returns the folder with a {function}/bootstrap
    each."""
    compile_all(profile, architecture, with_tests)
    console.place(folder(profile) / "api" / "console")
    return folder(profile)


def compile_all(profile: str, architecture: str = "x86_64", with_tests: bool = False) -> None:
    """Compiles all functions with one command, so that they share every crate. The dev profile compiles the whole
    workspace, and the tests if `with_tests`: another selection of packages has other features and compiles the SDKs
    again."""
    if os.environ.get("BUILD") == "no":
        pass
    elif profile == "dev":
        _cargo("build", "--bins", "--workspace", *(["--tests"] if with_tests else []))
    else:
        packages = [argument for name in FUNCTIONS for argument in ("--package", f"logferry-{name}")]
        # Without a target, cargo-lambda compiles for the architecture of this machine.
        wanted = {"x86_64": "--x86-64", "arm64": "--arm64"}[architecture]
        _cargo("lambda", "build", "--release", "--bins", wanted, *packages)
    if profile == "dev":
        _copy_stripped()


def folder(profile: str) -> pathlib.Path:
    return TARGET / ("lambda" if profile == "release" else "lambda-dev")


def check(bootstrap: pathlib.Path, architecture: str) -> None:
    """Raises `Problem` unless Lambda can run the program on this architecture."""
    try:
        program = bootstrap.read_bytes()
    except FileNotFoundError:
        raise Problem(f"{bootstrap} is missing: run `make build`") from None
    if program[:4] != b"\x7fELF":
        raise Problem(f"{bootstrap} is no Linux program")
    machine = MACHINES.get(int.from_bytes(program[18:20], "little"), "another architecture")
    if machine != architecture:
        raise Problem(
            f"{bootstrap} is compiled for {machine}, and the parameter Architecture is {architecture}: "
            f"run `make build ARCHITECTURE={architecture}`"
        )
    needed = max((int(minor) for minor in re.findall(rb"GLIBC_2\.(\d+)\0", program)), default=0)
    if needed > LAMBDA_GLIBC_MINOR:
        raise Problem(f"{bootstrap} needs GLIBC 2.{needed}; Lambda's provided.al2023 has 2.{LAMBDA_GLIBC_MINOR}")


def pack(function: pathlib.Path, compressed: bool) -> bytes:
    """Returns a zip of a function's folder that is equal for equal files: it contains no current time."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        for path in contents(function):
            entry = zipfile.ZipInfo(path.relative_to(function).as_posix(), (1980, 1, 1, 0, 0, 0))
            entry.external_attr = (0o755 if path.name == "bootstrap" else 0o644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
            packed.writestr(entry, path.read_bytes())
    return archive.getvalue()


def contents(function: pathlib.Path) -> list[pathlib.Path]:
    """The program, and the files of the console."""
    return [function / "bootstrap", *sorted(path for path in (function / "console").glob("*") if path.is_file())]


def digest(function: pathlib.Path) -> str:
    """A hash of what `pack` packs."""
    found = hashlib.sha256()
    for path in contents(function):
        found.update(f"{path.name} {path.stat().st_size}\n".encode())
        found.update(path.read_bytes())
    return found.hexdigest()[:16]


def _cargo(*arguments: str) -> None:
    # cargo finds `cargo lambda`, and cargo-lambda finds zig, in the folder of the pinned tools.
    tools = pathlib.Path(sys.executable).parent
    # The build scripts of dependencies run here: without credentials for AWS in their environment.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment["PATH"] = f"{tools}:{os.environ['PATH']}"
    if subprocess.run(["cargo", *arguments], cwd=ROOT, env=environment).returncode:
        raise Problem("the functions do not compile; see the errors above")


def _copy_stripped() -> None:
    """Copies the binaries without debug sections, which are most of a dev binary; the emulator keeps it in memory."""
    for name in FUNCTIONS:
        built, bootstrap = TARGET / "debug" / name, folder("dev") / name / "bootstrap"
        if bootstrap.exists() and bootstrap.stat().st_mtime_ns == built.stat().st_mtime_ns:
            continue
        bootstrap.parent.mkdir(parents=True, exist_ok=True)
        if shutil.which("strip"):
            subprocess.run(["strip", "--strip-debug", "-o", bootstrap, built], check=True)
        else:
            shutil.copy(built, bootstrap)
        os.utime(bootstrap, ns=(built.stat().st_atime_ns, built.stat().st_mtime_ns))
