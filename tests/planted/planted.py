"""Plants each bug in a copy of the tree and shows that a test turns red. `make planted`.

`bugs.json` says for each: in which folder, what stands there (once; behind the text `after`, where that is
given), what takes its place, what is built, and which test is to find it. A test of the ordinary suite
(`tidy`) holds that every bug still fits the tree.

Needs no stack. The copy has a build folder of its own: cargo would take what is compiled of one tree for the
other's, bug and all. Everything is built with the features of the whole workspace, so that no dependency is
built twice, and of it only the test binary at hand. Names of bugs as arguments plant only those.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUGS = {bug["name"]: bug for bug in json.loads((ROOT / "tests" / "planted" / "bugs.json").read_text())}
# Always in the same place, so that the build folder does not fill up.
TREE = ROOT / "target" / "planted"

TEST_FAILED = 100  # nextest's exit code: everything was built, a test is red


class Unfit(Exception):
    """A bug that does not fit the tree."""


def place(bug: dict) -> tuple[pathlib.Path, int]:
    """The file that a bug goes into, and where in it."""
    places = []
    for file in sorted((TREE / bug["in"]).rglob("*.rs")):
        text = file.read_text()
        begin = text.find(bug["after"]) if "after" in bug else 0
        if begin < 0:
            continue
        at = text.find(bug["find"], begin)
        if at >= 0:
            places.append((file, at))
        if "after" not in bug and text.count(bug["find"]) > 1:
            raise Unfit(f"{file.relative_to(TREE)} has it more than once")
    if len(places) != 1:
        raise Unfit(f"{len(places)} files of {bug['in']} have it, not one")
    return places[0]


def run_tests(build: list[str], tests: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "CARGO_TARGET_DIR": str(ROOT / "target" / "planted-build")}
    environment["PATH"] = f"{ROOT / '.logferry' / 'venv' / 'bin'}:{environment['PATH']}"
    environment.pop("LOGFERRY_LOCAL_ENV", None)
    command = ["cargo", "nextest", "run", "--workspace", "--cargo-quiet", "--no-fail-fast", *build, "-E", tests]
    return subprocess.run(command, cwd=TREE, env=environment, text=True, capture_output=True)


def copy_tree() -> None:
    shutil.rmtree(TREE, ignore_errors=True)
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=ROOT, text=True, capture_output=True, check=True).stdout.splitlines():
        if (ROOT / name).is_file():
            (TREE / name).parent.mkdir(parents=True, exist_ok=True)
            # With a new time: what was compiled last may have been a bug.
            shutil.copyfile(ROOT / name, TREE / name)


def plant(bug: dict) -> bool:
    """Whether a test found it."""
    file, at = place(bug)
    sound = file.read_text()
    file.write_text(sound[:at] + bug["plant"] + sound[at + len(bug["find"]) :])
    try:
        result = run_tests(bug["build"], f"test({bug['found_by']})")
    finally:
        file.write_text(sound)
    red = {line.split()[-1] for line in result.stderr.splitlines() if line.strip().startswith("FAIL")}
    if result.returncode == TEST_FAILED and red:
        more = f" and {len(red) - 1} more" if len(red) > 1 else ""
        print(f"{bug['name']}: found by {min(red)}{more}", flush=True)
        return True
    print(f"{bug['name']}: NOT FOUND (exit {result.returncode})\n{result.stderr[-2000:]}", flush=True)
    return False


def main() -> int:
    wanted = sys.argv[1:] or list(BUGS)
    copy_tree()
    try:
        for name in wanted:
            place(BUGS[name])
    except Unfit as why:
        print(f"{name}: the bug no longer fits the tree: {why}")
        return 1
    # A test that is red without the bug finds nothing.
    names = sorted({BUGS[name]["found_by"] for name in wanted})
    build = sorted({tuple(BUGS[name]["build"]) for name in wanted})
    sound = run_tests([flag for flags in build for flag in flags], " | ".join(f"test({name})" for name in names))
    if sound.returncode != 0:
        print(f"red without a bug:\n{sound.stderr[-4000:]}")
        return 1
    found = sum(plant(BUGS[name]) for name in wanted)
    print(f"{found} of {len(wanted)} planted bugs were found")
    return 0 if found == len(wanted) else 1


if __name__ == "__main__":
    sys.exit(main())
