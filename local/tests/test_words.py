"""The words test: what it finds, where, and that its limits only go down."""

import subprocess

import pytest

import words

RULES = words.read_rules((words.LOCAL / "words.txt").read_text())


def found(text: str) -> list[str]:
    return [hit.text for hit in words.hits("a.rs", text, RULES)]


@pytest.mark.parametrize(
    "text",
    [
        "/// What a retry may mend.",
        "a run that was gone on with",
        "Whoever asks gets it.",
        "fn nobody_asks() {}",
        "of somebody's logs",
        "an app, whose entries they are, is",
        "it begins anew",
        "let told = 3;",
        "Takes so many of them.",
        "flush is a day behind",
        "dated ahead",
        "a fault of ours",
        "Who meets the note finishes it.",
    ],
)
def test_words_are_found_in_comments_strings_and_names(text):
    assert len(found(text)) == 1, text


@pytest.mark.parametrize(
    "text",
    [
        "an amendment, untold, wholesome, behindhand",
        "an emulator behind a relay",
        "so far, so long as it lasts",
        "an app whose counters are exact",
        "look-ahead and write-behind",
    ],
)
def test_other_words_are_left_alone(text):
    assert found(text) == []


def test_a_phrase_is_found_across_the_lines_of_a_comment_and_located_by_its_first():
    [hit] = words.hits("a.rs", "fn a() {}\n/// A removal that is gone\n/// on with later.\n", RULES)
    assert (hit.line, hit.text) == (2, "gone /// on with")


def test_every_word_has_a_better_one():
    assert all(rule.better for rule in RULES)
    with pytest.raises(ValueError, match="no ' -> '"):
        words.read_rules("mend")


def hit(path: str) -> words.Hit:
    return words.Hit(path, 1, "told", "is given")


def test_a_file_without_a_limit_may_have_none():
    problems, _ = words.judge({"new.md": [hit("new.md")]}, {})
    assert problems == ["new.md:1: 'told': write is given"]


def test_the_files_of_a_limit_share_it():
    found = {path: [hit(path)] for path in ("a.rs", "deep/b.rs")}
    assert words.judge(found, {"*.rs": 2}) == ([], [])
    assert words.judge(found, {"*.rs": 1}) == (["*.rs: 2 words of words.txt, at most 1 are allowed"], [])
    assert words.judge(found, {"*.rs": 3}) == ([], ["*.rs: lower its limit from 3 to 2"])


def test_no_limit_is_above_that_of_an_earlier_commit():
    """Limits of the history that this checkout has: one may be lowered or removed, not raised or added."""
    name = "local/words-limits.txt"
    now = words.read_limits((words.ROOT / name).read_text())
    log = ["git", "log", "--format=%H", "--", name]
    for commit in subprocess.run(log, cwd=words.ROOT, capture_output=True, text=True, check=True).stdout.split():
        shown = subprocess.run(["git", "show", f"{commit}:{name}"], cwd=words.ROOT, capture_output=True, text=True)
        earlier = words.read_limits(shown.stdout)
        assert now.keys() <= earlier.keys(), f"a limit was added after {commit}"
        assert all(most <= earlier[pattern] for pattern, most in now.items()), f"a limit was raised after {commit}"
