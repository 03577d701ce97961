"""Compiles the functions and packs each into a zip for Lambda.

dev: `cargo build` into target/lambda-dev, the default for local work. It compiles in minutes, shares its
dependencies with the tests, and optimises the crates of the hot path.
release: cargo-lambda into target/lambda, used by `build` and `deploy`.
BUILD=no uses the last build."""

import io
import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

from .settings import FUNCTIONS, ROOT, Problem

TARGET = ROOT / (os.environ.get("CARGO_TARGET_DIR") or "target")


def build(profile: str, architecture: str = "x86_64", with_tests: bool = False) -> pathlib.Path:
    """Compiles all functions with one command, so that they share every crate; returns the folder with
    a {function}/bootstrap each. The dev profile compiles the whole workspace, and the tests if
    `with_tests`: another selection of packages has other features and compiles the SDKs again."""
    if os.environ.get("BUILD") == "no":
        pass
    elif profile == "dev":
        _cargo("build", "--bins", "--workspace", *(["--tests"] if with_tests else []))
    else:
        packages = [argument for name in FUNCTIONS for argument in ("--package", f"logferry-{name}")]
        arm = ["--arm64"] if architecture == "arm64" else []
        _cargo("lambda", "build", "--release", "--bins", *arm, *packages)
    if profile == "dev":
        _copy_stripped()
    return folder(profile)


def folder(profile: str) -> pathlib.Path:
    return TARGET / ("lambda" if profile == "release" else "lambda-dev")


def pack(bootstrap: pathlib.Path, compressed: bool) -> bytes:
    """Returns a zip that is equal for equal binaries: it contains no current time."""
    entry = zipfile.ZipInfo("bootstrap", (1980, 1, 1, 0, 0, 0))
    entry.external_attr = 0o755 << 16
    entry.compress_type = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr(entry, bootstrap.read_bytes())
    return archive.getvalue()


def _cargo(*arguments: str) -> None:
    # cargo finds `cargo lambda`, and cargo-lambda finds zig, in the folder of the pinned tools.
    tools = pathlib.Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
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
