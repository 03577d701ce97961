"""Runs the shell commands of docs/api.md and docs/guide.md from top to bottom on a local stack; each must succeed, and
print what the page shows after it.

LOGFERRY_LOCAL_ENV names the stack's local.env, by default that of `make up`. The apps `shop` and `guide` must not
exist: the commands register them and delete them at the end."""

import dataclasses
import os
import pathlib
import re
import shutil
import sys
import tempfile

import commands
from stack.binaries import TARGET
from stack.settings import ROOT, local_env_path

PAGES = ("api.md", "guide.md")
PART = re.compile(r"(?ms)^###? (?P<title>[^\n]+)|^```sh\n(?P<commands>.*?)^```|^```text\n(?P<answer>.*?)^```")
MARK = "== block "
# Stands for whatever differs from run to run.
ANYTHING = "…"

# A reader is slower than `ingest`: a question whose answer is still empty is asked again.
LOGFERRY = r"""
logferry() {
  local answer
  case "$1" in query | files) ;; *) "$LOGFERRY" "$@"; return;; esac
  for _ in {1..40}; do
    answer=$("$LOGFERRY" "$@")
    if [ "$(printf '%s\n' "$answer" | grep -vc '^CREATED')" != 0 ] && [ -n "$answer" ]; then break; fi
    sleep 0.5
  done
  printf '%s\n' "$answer"
}
"""


@dataclasses.dataclass
class Block:
    title: str
    commands: str
    answer: str = ""


def blocks(page: str) -> list[Block]:
    """Returns the blocks of commands of a page, each with the answer that the page shows after it."""
    found, title = [], "the beginning"
    for match in PART.finditer(page):
        if match["title"]:
            title = match["title"].strip("`")
        elif match["commands"] and "aws lambda" not in match["commands"]:  # the AWS CLI is not among the tools
            found.append(Block(title, match["commands"]))
        elif match["answer"] and found:
            found[-1].answer = match["answer"]
    return found


def script(found: list[Block], local_env: pathlib.Path) -> str:
    """Returns the commands as one script that names each block before its commands."""
    lines = [LOGFERRY]
    for number, block in enumerate(found):
        lines.append(f"echo; echo '{MARK}{number}'; echo '== {block.title}' >&2")
        lines.append(block.commands.replace(".logferry/local.env", str(local_env)))
    return "\n".join(lines)


def missing(answer: str, printed: str) -> list[str]:
    """Returns the lines of an answer that were not printed."""
    spaced = re.sub(" +", " ", printed)

    def was_printed(line: str) -> bool:
        parts = [re.escape(part) for part in re.sub(" +", " ", line).split(ANYTHING)]
        return re.search(r"(?m)^" + ".*".join(parts) + r"$", spaced) is not None

    return [line for line in answer.splitlines() if not was_printed(line)]


def run(page: pathlib.Path, local_env: pathlib.Path) -> int:
    found = blocks(page.read_text())
    with tempfile.TemporaryDirectory() as folder:
        # The page's files are created here, and not in the repository.
        shutil.copy(ROOT / "README.md", folder)
        program = os.environ.get("LOGFERRY") or str(TARGET / "debug" / "logferry")
        env = {"LOGFERRY": program, "XDG_CONFIG_HOME": folder}
        done = commands.run(script(found, local_env), page.name, env, folder)
    printed = re.split(rf"(?m)^{MARK}\d+$", done.stdout)[1:]
    wrong = [
        f"{page.name}, {block.title}: not printed: {line}\nbut:{said}"
        for block, said in zip(found, printed, strict=True)
        for line in missing(block.answer, said)
    ]
    if wrong:
        sys.exit("\n".join(wrong))
    return len(found)


def main() -> int:
    if not shutil.which("curl"):
        print("curl is not installed", file=sys.stderr)
        return 1
    for name in PAGES:
        count = run(ROOT / "docs" / name, local_env_path())
        print(f"{count} blocks of commands in {name} succeeded")
    return 0


if __name__ == "__main__":
    sys.exit(main())
