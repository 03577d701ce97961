#!/usr/bin/env python3
"""Counts the words of words.txt in the texts of the repository: documents, comments, messages, names.

Fails if a file has one. words-limits.txt lists the files that are not rewritten yet, as patterns with the most
words that all files of a pattern may hold together. A limit may be lowered and removed, not raised or added.
Arguments are files to print in full, with what to write instead."""

import dataclasses
import fnmatch
import pathlib
import re
import subprocess
import sys

LOCAL = pathlib.Path(__file__).resolve().parent
ROOT = LOCAL.parent
# What another program wrote, what the law wrote, and the list itself.
SKIPPED = ("*.lock", "*/package-lock.json", "LICENSE*", "*/fixtures/*", "local/words*", "local/tests/test_words.py")
# Shown per file unless files are named.
SHOWN = 3


@dataclasses.dataclass(frozen=True)
class Rule:
    pattern: re.Pattern
    better: str


@dataclasses.dataclass(frozen=True)
class Hit:
    path: str
    line: int
    text: str
    better: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text!r}: write {self.better}"


def read_rules(text: str) -> list[Rule]:
    rules = []
    for line in _lines(text):
        words, arrow, better = line.partition(" -> ")
        if not arrow:
            raise ValueError(f"words.txt: no ' -> ' in {line!r}")
        # A comma and a space separate the patterns of a line.
        for word in words.split(", "):
            spaced = word.strip().replace(" ", r"[\s/#!*>|-]+")
            rules.append(Rule(re.compile(rf"(?<![\w-]){spaced}(?![\w-])", re.IGNORECASE), better.strip()))
    return rules


def read_limits(text: str) -> dict[str, int]:
    limits = {}
    for line in _lines(text):
        pattern, _, most = line.rpartition(" ")
        limits[pattern.strip()] = int(most)
    return limits


def hits(path: str, text: str, rules: list[Rule]) -> list[Hit]:
    """The words of `rules` in a text, in its order."""
    # An underscore separates words as a space does; the length stays, so that lines can be counted.
    spaced = text.replace("_", " ")
    found = []
    for rule in rules:
        for match in rule.pattern.finditer(spaced):
            line = text.count("\n", 0, match.start()) + 1
            found.append(Hit(path, line, " ".join(text[match.start() : match.end()].split()), rule.better))
    return sorted(found, key=lambda hit: hit.line)


def judge(found: dict[str, list[Hit]], limits: dict[str, int]) -> tuple[list[str], list[str]]:
    """The problems, and the limits that can be lowered."""
    problems, lower = [], []
    left = dict(found)
    for pattern, most in limits.items():
        matched = [path for path in left if fnmatch.fnmatch(path, pattern)]
        here = [hit for path in matched for hit in left.pop(path)]
        if len(here) > most:
            problems.append(f"{pattern}: {len(here)} words of words.txt, at most {most} are allowed")
        elif len(here) < most:
            lower.append(f"{pattern}: lower its limit from {most} to {len(here)}")
    for path, here in left.items():
        problems += [str(hit) for hit in here[:SHOWN]]
        if len(here) > SHOWN:
            problems.append(f"{path}: {len(here) - SHOWN} more; `python3 local/words.py {path}` shows them")
    return problems, lower


def texts() -> dict[str, str]:
    """The text files that git tracks or would track, by path."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    found = {}
    for name in names:
        if not name or any(fnmatch.fnmatch(name, pattern) for pattern in SKIPPED):
            continue
        try:
            found[name] = (ROOT / name).read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue  # binary, or deleted and not yet committed
    return found


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def main(arguments: list[str]) -> int:
    rules = read_rules((LOCAL / "words.txt").read_text())
    if arguments:
        for name in arguments:
            for hit in hits(name, pathlib.Path(name).read_text(), rules):
                print(hit)
        return 0
    found = {path: here for path, text in texts().items() if (here := hits(path, text, rules))}
    problems, lower = judge(found, read_limits((LOCAL / "words-limits.txt").read_text()))
    for line in lower + problems:
        print(f"words: {line}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
