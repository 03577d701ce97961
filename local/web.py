"""`python -m web`: builds, checks, tests and shows the browser packages under web/, with the Node.js of the tools.

Node.js comes with requirements.txt, the packages from the npm registry as web/package-lock.json names
them. The browser is Debian's Chromium, or what CHROMIUM names."""

import contextlib
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
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FIREFOXES = ("firefox-esr", "firefox")
# Examples of frameworks, and what serves them.
EXAMPLES = {"vite": "npx vite --strictPort --port 4801", "next": "npx next dev --port 4802"}


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
    return found_or_installed("CHROMIUM", CHROMIUMS, "chromium")


def found_or_installed(variable: str, names: tuple[str, ...], package: str) -> str:
    """A browser's path: what the variable names, or what is there; as root on Debian it is installed."""
    named = os.environ.get(variable)
    if named:
        if not shutil.which(named):
            raise Problem(f"{variable} names {named}, which is not there")
        return named
    found = _first(names)
    if not found and os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"installing {package} with apt-get", file=sys.stderr)
        apt = ["apt-get", "-qq", "-o", "Dpkg::Use-Pty=0"]
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run([*apt, "update"], env=quiet, stdout=sys.stderr)
        arguments = ["install", "--yes", "--no-install-recommends", package]
        subprocess.run([*apt, *arguments], env=quiet, stdout=sys.stderr)
        found = _first(names)
    if not found:
        raise Problem(
            f"these tests need a browser and found none of {', '.join(names)}. On Debian or Ubuntu:\n"
            f"    sudo apt-get install {package}\nor name one: {variable}=/path/to/it"
        )
    return found


def _first(names: tuple[str, ...]) -> str | None:
    return next(filter(None, map(shutil.which, names)), None)


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


@contextlib.contextmanager
def packed():
    """What npm would publish. Packed here: tools look for npm beside Node.js, where the wheel does not have it."""
    with tempfile.TemporaryDirectory() as folder:
        pack = ["npm", "pack", "--silent", "--pack-destination", folder]
        if not run(*pack, cwd=WEB / "browser", stdout=subprocess.DEVNULL):
            raise Problem("npm pack failed")
        [tarball] = pathlib.Path(folder).glob("*.tgz")
        yield tarball


def package() -> None:
    """What npm would publish, as publint and attw see it."""
    folder = WEB / "browser"
    with packed() as tarball:
        attw = ["npx", "attw", "--profile", "esm-only", "--quiet", tarball]
        if not (run("npx", "publint", "--strict", tarball, cwd=folder) and run(*attw, cwd=folder)):
            raise Problem("the package has problems, see above")


def browser() -> None:
    """The tests in the browser; those that need a stack read LOGFERRY_LOCAL_ENV."""
    env = {**environment(), "CHROMIUM": chromium()}
    failed = [name for name in ("browser", "console") if not run("npx", "playwright", "test", env=env, cwd=WEB / name)]
    if failed:
        raise Problem(f"the tests in Chromium of {' and '.join(f'web/{name}' for name in failed)} failed")


def web() -> None:
    build()
    check()
    unit()


def test() -> None:
    prepare()
    browser()


def prepare() -> None:
    """What precedes the tests in the browser: the packages, their unit tests, and a browser."""
    build()
    unit()
    chromium()


def screenshots() -> None:
    """Pictures of the console for the documentation, on the stack of `make up`, which gets two apps for them."""
    install()
    env = {**environment(), "CHROMIUM": chromium()}
    if not run("node", "test/support/screens.ts", env=env, cwd=WEB / "console"):
        raise Problem("the screenshots failed; they need the stack of `make up`")


def walk() -> None:
    """A first visit to the console of the stack of `make up`, with a picture of each step."""
    install()
    env = {**environment(), "CHROMIUM": chromium()}
    if not run("node", "test/support/walk.ts", env=env, cwd=WEB / "console"):
        raise Problem("the walk failed; it needs the stack of `make up`")


def bundlers() -> None:
    """The packed package in Vite, webpack, Next and esbuild, each with an app of its own; the examples of two."""
    build()
    for name in EXAMPLES:
        install_example(name)
    folder = WEB / "bundlers"
    if not run("npm", "ci", "--loglevel=error", cwd=folder):
        raise Problem("npm ci failed")
    with packed() as tarball:
        add = ["npm", "install", "--no-save", "--no-package-lock", "--loglevel=error", tarball]
        if not run(*add, cwd=folder):
            raise Problem("npm install failed")
    env = {**environment(), "CHROMIUM": chromium()}
    if not run("npx", "playwright", "test", env=env, cwd=folder):
        raise Problem("the package does not work in every bundler, see above")


def firefox() -> None:
    """Some of the browser tests in a stock Firefox, over WebDriver BiDi."""
    build()
    env = {**environment(), "FIREFOX": found_or_installed("FIREFOX", FIREFOXES, "firefox-esr")}
    failed = [
        name
        for name in ("browser", "console")
        if not run("npm", "run", "--silent", "firefox", "--workspace", name, env=env)
    ]
    if failed:
        raise Problem(f"the tests in Firefox of {' and '.join(f'web/{name}' for name in failed)} failed")


def install_example(name: str) -> pathlib.Path:
    """Installs what an example needs, with the package as it was built now."""
    folder = WEB / "examples" / name
    if not run("npm", "ci", "--loglevel=error", cwd=folder):
        raise Problem(f"npm ci failed in {folder}")
    return folder


def demo() -> None:
    """The example pages on the stack of `make up`, until Ctrl-C. EXAMPLE names a framework with one of its own."""
    build()
    name = os.environ.get("EXAMPLE")
    if name and name not in EXAMPLES:
        raise Problem(f"EXAMPLE is one of {', '.join(EXAMPLES)}")
    framework = None
    if name:
        port = EXAMPLES[name].rpartition(" ")[2]
        print(f"the example of {name} on http://localhost:{port}/", file=sys.stderr)
        framework = subprocess.Popen(EXAMPLES[name].split(), cwd=install_example(name), env=environment())
    try:
        if not run("node", "examples/server.mjs"):
            raise Problem("the example server failed; it needs the stack of `make up`")
    except KeyboardInterrupt:
        pass
    finally:
        if framework:
            framework.terminate()


def main(arguments: list[str]) -> int:
    commands = {
        "browser": browser,
        "build": build,
        "bundlers": bundlers,
        "check": check,
        "demo": demo,
        "firefox": firefox,
        "prepare": prepare,
        "screenshots": screenshots,
        "web": web,
        "test": test,
        "walk": walk,
    }
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
