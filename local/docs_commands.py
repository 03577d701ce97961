"""Runs the commands and the samples of README.md and of pages of docs from top to bottom on a local stack, each page in
a fresh home; each must succeed, and print what the page shows after it.

LOGFERRY_LOCAL_ENV names the stack's local.env, by default that of `make up`. The apps `hello`, `shop` and `guide` must
not exist: the pages register them, and they are deleted at the end."""

import dataclasses
import pathlib
import re
import shutil
import sys
import tempfile

import commands
from stack.settings import ROOT, local_env_path

# What follows the last block of a page. Other pages delete their app themselves.
PAGES = {
    "README.md": 'curl -X DELETE "$API_URL/apps/hello" -H "X-Admin-Key: $ADMIN_KEY"',
    "docs/api.md": "",
    "docs/guide.md": "",
    "docs/costs.md": "",
}
PART = re.compile(
    r"(?ms)^###? (?P<title>[^\n]+)|^```(?P<language>sh|python|js)\n(?P<commands>.*?)^```|^```text\n(?P<answer>.*?)^```"
)
# A sample in another language ends in an answer of the service. JavaScript prints an object without quotes.
INTERPRETERS = {"python": '"$PYTHON" -', "js": "node --input-type=module -"}
ACCEPTED = re.compile(r'"?ok"?: ?true')
# Functions without a call: local/tests/test_webhooks.py runs them.
PARTIAL = {("docs/api.md", "js"), ("docs/api.md", "python")}
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
    language: str
    commands: str
    answer: str = ""


def blocks(page: str) -> list[Block]:
    """Returns the blocks of commands of a page, each with the answer that the page shows after it."""
    found, title = [], "the beginning"
    for match in PART.finditer(page):
        if match["title"]:
            title = match["title"].strip("`")
        elif match["commands"]:
            found.append(Block(title, match["language"], match["commands"]))
        elif match["answer"] and found:
            found[-1].answer = match["answer"]
    return found


def script(found: list[Block], local_env: pathlib.Path) -> str:
    """Returns the commands as one script that names each block before its commands."""
    lines = [LOGFERRY]
    for number, block in enumerate(found):
        lines.append(f"echo; echo '{MARK}{number}'; echo '== {block.title}' >&2")
        if block.language in INTERPRETERS:
            lines.append(f"{INTERPRETERS[block.language]} <<'SAMPLE'\n{block.commands}SAMPLE")
        else:
            lines.append(block.commands.replace(".logferry/local.env", str(local_env)))
    return "\n".join(lines)


def missing(block: Block, printed: str) -> list[str]:
    """Returns the lines of a block's answer that were not printed; of a sample, whether the service accepted it."""
    spaced = re.sub(" +", " ", printed)

    def was_printed(line: str) -> bool:
        parts = [re.escape(part) for part in re.sub(" +", " ", line).split(ANYTHING)]
        return re.search(r"(?m)^" + ".*".join(parts) + r"$", spaced) is not None

    if block.language in INTERPRETERS and not ACCEPTED.search(printed):
        return ['"ok": true']
    return [line for line in block.answer.splitlines() if not was_printed(line)]


def run(page: str, local_env: pathlib.Path) -> int:
    found = [block for block in blocks((ROOT / page).read_text()) if (page, block.language) not in PARTIAL]
    with tempfile.TemporaryDirectory() as folder:
        # The page's files are created here, and not in the repository.
        shutil.copy(ROOT / "README.md", folder)
        pathlib.Path(folder, "tests").symlink_to(ROOT / "tests")
        # Not the state and the configuration of this machine's user.
        env = {"HOME": folder, "XDG_CONFIG_HOME": f"{folder}/.config", "XDG_STATE_HOME": folder}
        done = commands.run(
            "\n".join([script(found, local_env), f"echo; echo '{MARK}'", PAGES[page]]), page, env, folder
        )
    printed = re.split(rf"(?m)^{MARK}\d*$", done.stdout)[1:-1]
    wrong = [
        f"{page}, {block.title}: not printed: {line}\nbut:{said}"
        for block, said in zip(found, printed, strict=True)
        for line in missing(block, said)
    ]
    if wrong:
        sys.exit("\n".join(wrong))
    return len(found)


def main() -> int:
    absent = [tool for tool in ("curl", "node") if not shutil.which(tool)]
    if absent:
        print(f"not installed: {', '.join(absent)}", file=sys.stderr)
        return 1
    for page in PAGES:
        count = run(page, local_env_path())
        print(f"{count} blocks of commands in {page} succeeded")
    return 0


if __name__ == "__main__":
    sys.exit(main())
