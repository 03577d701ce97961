#!/usr/bin/env python3
"""`make check`: formatting, lints, documentation, dependencies, spelling, wording, template, workflows, instruction
counts. What needs the tools, or another profile of the compiler, runs beside clippy and rustdoc."""

import os
import pathlib
import sys

from steps import Step, Steps

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".logferry" / "venv" / "bin"
WITH_MODULES = {"PYTHONPATH": str(ROOT / "local")}
CLIPPY = ("cargo", "clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings")
RUSTDOC = ("cargo", "doc", "--workspace", "--no-deps", "--quiet")
MAKE = ("make", "--no-print-directory")


def tool(what: str, name: str, *arguments, **variables: str) -> Step:
    return Step(what, (TOOLS / name, *arguments), variables)


def with_the_tools() -> list[Step]:
    workflows = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    return [
        Step("the tools", (sys.executable, ROOT / "local" / "tools.py")),
        tool("licenses and sources of the dependencies", "cargo-deny", "check", "bans", "licenses", "sources"),
        Step("advisories", (*MAKE, "advisories")),
        tool("unused dependencies", "cargo-shear", "--locked"),
        tool("spelling", "typos"),
        tool("the template", "cfn-lint", "template.yaml"),
        tool("the template, transformed", "python", ROOT / "local" / "sam_validate.py", **WITH_MODULES),
        tool("the workflows", "check-jsonschema", "--quiet", "--builtin-schema", "vendor.github-workflows", *workflows),
        tool("formatting of Python", "ruff", "format", "--check", "--quiet", "local"),
        tool("lints of Python", "ruff", "check", "--quiet", "local"),
        tool("formatting, lints and types of the browser packages", "python", "-m", "web", "check", **WITH_MODULES),
        Step("instruction counts", (*MAKE, "counts")),
    ]


def main() -> int:
    steps = Steps(ROOT, dict(os.environ))
    with steps.beside(*with_the_tools()):
        steps.run("wording", sys.executable, ROOT / "local" / "words.py")
        steps.run("formatting", "cargo", "fmt", "--all", "--check")
        steps.run("clippy", *CLIPPY)
        steps.run("documentation", *RUSTDOC, RUSTDOCFLAGS="-D warnings")
    print(steps.closing(), flush=True)
    if steps.failed:
        print(f"failed: {', '.join(steps.failed)}", file=sys.stderr)
    return int(bool(steps.failed))


if __name__ == "__main__":
    sys.exit(main())
