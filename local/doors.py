"""`python -m doors`: runs the configurations of docs/integrations.md by the real clients, on a local stack.
`python -m doors otel-rust`: the SDK of OpenTelemetry for Rust alone, which takes minutes to compile.
`python -m doors install`: only installs the clients.

LOGFERRY_LOCAL_ENV names the stack's local.env, by default that of `make up`. The clients come from PyPI and the npm
registry as tests/doors names them, into .logferry/doors and tests/doors/node_modules; rsyslog comes from Debian, where
there is apt-get, and is unpacked beside them without being installed."""

import hashlib
import pathlib
import shutil
import subprocess
import sys
import venv

import web
from stack.settings import ROOT, local_env

CLIENTS = ROOT / "tests" / "doors"
VENV = ROOT / ".logferry" / "doors"
STAMP = VENV / "installed.sha256"
LISTS = [CLIENTS / "requirements.txt", CLIENTS / "package.json"]
DEBIAN = ["rsyslog", "rsyslog-elasticsearch", "libestr0", "libfastjson4", "liblognorm5"]
UNPACKED = VENV / "debian"


def install(environment: dict[str, str]) -> None:
    """Installs the clients, unless those that are named are there."""
    named = b"".join(path.read_bytes() for path in LISTS) + " ".join([sys.version, *DEBIAN]).encode()
    wanted = hashlib.sha256(named).hexdigest()
    if STAMP.exists() and STAMP.read_text() == wanted and (CLIENTS / "node_modules").exists():
        return
    print("installing the clients that tests/doors names", file=sys.stderr)
    venv.create(VENV, with_pip=True, clear=True)
    pip = [VENV / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, "--requirement", LISTS[0]], check=True)
    npm = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error", "--ignore-scripts"]
    subprocess.run(npm, cwd=CLIENTS, env=environment, check=True)
    STAMP.write_text(wanted)


def unpack_debian_packages() -> None:
    """Unpacks what Debian has, if this is one and it is not there yet."""
    if (UNPACKED / "usr").exists() or not (shutil.which("apt-get") and shutil.which("dpkg")):
        return
    UNPACKED.mkdir(exist_ok=True)
    done = subprocess.run(["apt-get", "-qq", "download", *DEBIAN], cwd=UNPACKED, stderr=subprocess.DEVNULL, check=False)
    if done.returncode:
        print("rsyslog is not tried: apt-get has no packages of it, `apt-get update` may help", file=sys.stderr)
    for package in UNPACKED.glob("*.deb"):
        subprocess.run(["dpkg", "-x", package, UNPACKED], check=True)


def otel_rust() -> pathlib.Path:
    """Compiles the program of the SDK for Rust; returns its path."""
    target = ROOT / ".logferry" / "otel-rust"
    manifest = CLIENTS / "otel-rust" / "Cargo.toml"
    build = ["cargo", "build", "--locked", "--quiet", "--manifest-path", manifest, "--target-dir", target]
    subprocess.run(build, check=True)
    return target / "debug" / "otel-rust"


def main(arguments: list[str]) -> int:
    install(web.environment())
    unpack_debian_packages()
    if arguments == ["install"]:
        return 0
    environment = {**web.environment(), **local_env(), "DEBIAN_PACKAGES": str(UNPACKED)}
    if arguments == ["otel-rust"]:
        environment["OTEL_RUST"] = str(otel_rust())
        arguments = ["-k", "rust"]
    test = [VENV / "bin" / "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", CLIENTS, *arguments]
    return subprocess.run(test, cwd=ROOT, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
