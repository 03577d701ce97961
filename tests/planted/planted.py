"""Plants each bug in a copy of the tree and checks that a test fails. `make planted`.

`bugs.json` has for each bug: the folder (`in`), the text that is replaced (`find`; it must occur once, or be the
first after the text `after`), its replacement (`plant`), the build, and the test that must fail (`found_by`). The
ordinary suite (`tidy`) checks that every bug still fits the tree.

Needs no stack. The copy has its own build folder, because cargo would confuse the builds of the two trees. It is
built with the features of the whole workspace, so that no dependency is built twice, and only the test binaries that
are needed. Names of bugs as arguments plant only those.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUGS = {bug["name"]: bug for bug in json.loads((ROOT / "tests" / "planted" / "bugs.json").read_text())}
# Always the same folder, so that the build folder does not grow.
TREE = ROOT / "target" / "planted"

TEST_FAILED = 100  # nextest's exit code: everything was built, a test failed


class Unfit(Exception):
    """A bug that does not fit the tree."""


def place(bug: dict) -> tuple[pathlib.Path, int]:
    """Returns the file and the offset where a bug is planted."""
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
            raise Unfit(f"{file.relative_to(TREE)} contains it more than once")
    if len(places) != 1:
        raise Unfit(f"{len(places)} files of {bug['in']} contain it, not one")
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
            # With a new time, because the last build may contain a bug.
            shutil.copyfile(ROOT / name, TREE / name)


def plant(bug: dict) -> bool:
    """Plants a bug; returns whether a test found it."""
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
    # A test that fails without the bug proves nothing.
    names = sorted({BUGS[name]["found_by"] for name in wanted})
    build = sorted({tuple(BUGS[name]["build"]) for name in wanted})
    sound = run_tests([flag for flags in build for flag in flags], " | ".join(f"test({name})" for name in names))
    if sound.returncode != 0:
        print(f"failed without a bug:\n{sound.stderr[-4000:]}")
        return 1
    found = sum(plant(BUGS[name]) for name in wanted)
    print(f"{found} of {len(wanted)} planted bugs were found")
    return 0 if found == len(wanted) else 1


if __name__ == "__main__":
    sys.exit(main())
