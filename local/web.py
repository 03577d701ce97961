"""`python -m web {build,check,demo,test}`: the browser packages under web/, with the Node.js of the private tools.

Node.js comes with requirements.txt, the packages from the npm registry as web/package-lock.json names
them. The browser is Debian's Chromium, or what CHROMIUM names."""

import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
WEB = ROOT / "web"
STAMP = WEB / "node_modules" / ".installed.sha256"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
NO_BROWSER = """the web tests need Chromium and found none. On Debian or Ubuntu:
    sudo apt-get install chromium
or name one: CHROMIUM=/path/to/chrome make test"""


class Problem(Exception):
    """Something the person at the terminal can act on."""


def environment() -> dict[str, str]:
    tools = pathlib.Path(sys.executable).parent
    # No package may fetch a browser of its own.
    return {
        **os.environ,
        "PATH": f"{tools}:{os.environ['PATH']}",
        "PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD": "1",
        "NEXT_TELEMETRY_DISABLED": "1",
    }


def run(*arguments, env: dict[str, str] | None = None, cwd: pathlib.Path = WEB, **more) -> bool:
    return subprocess.run(arguments, cwd=cwd, env=env or environment(), **more).returncode == 0


def install() -> None:
    """`npm ci`, unless what the lock file names is there."""
    wanted = hashlib.sha256((WEB / "package-lock.json").read_bytes()).hexdigest()
    if STAMP.exists() and STAMP.read_text() == wanted:
        return
    print("installing the packages of web/package-lock.json into web/node_modules", file=sys.stderr)
    if not run("npm", "ci", "--loglevel=error"):
        raise Problem("npm ci failed")
    STAMP.write_text(wanted)


def chromium() -> str:
    """The browser's path; as root on Debian it is installed if there is none."""
    named = os.environ.get("CHROMIUM")
    if named:
        if not shutil.which(named):
            raise Problem(f"CHROMIUM names {named}, which is not there")
        return named
    found = _find()
    if not found and os.geteuid() == 0 and shutil.which("apt-get"):
        print("installing chromium with apt-get", file=sys.stderr)
        apt = ["apt-get", "-qq", "-o", "Dpkg::Use-Pty=0"]
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run([*apt, "update"], env=quiet, stdout=sys.stderr)
        packages = ["install", "--yes", "--no-install-recommends", "chromium"]
        subprocess.run([*apt, *packages], env=quiet, stdout=sys.stderr)
        found = _find()
    if not found:
        raise Problem(NO_BROWSER)
    return found


def _find() -> str | None:
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def build() -> None:
    install()
    if not run("npm", "run", "--silent", "build"):
        raise Problem("the build of web/ failed")


def check() -> None:
    install()
    lint = run("npm", "run", "--silent", "lint")
    types = run("npm", "run", "--silent", "types")
    if not (lint and types):
        raise Problem("web/: " + " and ".join(["lint"] * (not lint) + ["types"] * (not types)) + " failed")


def unit() -> None:
    if not run("npm", "run", "--silent", "unit"):
        raise Problem("the unit tests of web/ failed")
    package()


def package() -> None:
    """What npm would publish, as publint and attw see it."""
    folder = WEB / "browser"
    with tempfile.TemporaryDirectory() as packed:
        pack = ["npm", "pack", "--silent", "--pack-destination", packed]
        if not run(*pack, cwd=folder, stdout=subprocess.DEVNULL):
            raise Problem("npm pack failed")
        [tarball] = pathlib.Path(packed).glob("*.tgz")
        attw = ["npx", "attw", "--profile", "esm-only", "--format", "ascii", "--no-emoji", tarball]
        # Packed here: the tools look for npm beside Node.js, where the wheel does not have it.
        if not (run("npx", "publint", "--strict", tarball, cwd=folder) and run(*attw, cwd=folder)):
            raise Problem("the package has problems, see above")


def browser(more: dict[str, str] | None = None) -> None:
    """The tests in the browser; those that need a stack read LOGFERRY_LOCAL_ENV."""
    env = {**environment(), "CHROMIUM": chromium(), **(more or {})}
    if not run("npx", "playwright", "test", env=env, cwd=WEB / "browser"):
        raise Problem("the browser tests of web/ failed")


def web() -> None:
    build()
    check()
    unit()


def test() -> None:
    build()
    unit()
    browser()


def demo() -> None:
    """The example pages on the stack of `make up`, until Ctrl-C."""
    build()
    try:
        if not run("node", "examples/server.mjs"):
            raise Problem("the example server failed; it needs the stack of `make up`")
    except KeyboardInterrupt:
        pass


def main(arguments: list[str]) -> int:
    commands = {"build": build, "check": check, "demo": demo, "web": web, "test": test}
    if len(arguments) != 1 or arguments[0] not in commands:
        print(f"usage: python -m web {'|'.join(commands)}", file=sys.stderr)
        return 2
    try:
        commands[arguments[0]]()
    except Problem as problem:
        print(f"logferry: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
