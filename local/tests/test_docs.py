"""The Markdown pages: every crate has a README, and relative links lead somewhere."""

import re
import subprocess

import pytest

from stack.settings import ROOT

LIBRARIES_OF_THEIR_OWN = {"shared/batch-buffer", "shared/upload-client"}
CRATES = sorted(
    str(manifest.parent.relative_to(ROOT))
    for pattern in ("functions/*", "shared/*", "cli", "bench", "tests")
    for manifest in ROOT.glob(f"{pattern}/Cargo.toml")
)
LISTED = subprocess.run(
    ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
).stdout.split()
PAGES = [page for page in LISTED if (ROOT / page).exists()]


@pytest.mark.parametrize("crate", CRATES)
def test_every_crate_has_a_readme_with_what_input_output_how_it_runs_and_environment(crate):
    readme = (ROOT / crate / "README.md").read_text()
    if crate not in LIBRARIES_OF_THEIR_OWN:
        assert re.findall(r"(?m)^- \*\*(\w+)\*\*", readme) == ["What", "Input", "Output", "Runs", "Environment"]


def anchors(text: str) -> set[str]:
    """Returns the anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"(?m)^#+ (.+)$", text)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_relative_links_lead_to_a_file_and_a_heading(page):
    text = re.sub(r"(?ms)^```.*?^```", "", (ROOT / page).read_text())
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (ROOT / page).parent / path if path else ROOT / page
        assert linked.exists(), f"{page}: {target}"
        if anchor:
            assert anchor in anchors(linked.read_text()), f"{page}: {target}"


@pytest.mark.parametrize("page", ["README.md", "docs/guarantees.md"])
def test_the_tests_that_a_promise_names_exist(page):
    """A name is written `module::test`, and may be cut with an ellipsis."""
    sources = [path for folder in ("functions", "shared", "tests", "cli") for path in (ROOT / folder).rglob("*.rs")]
    declared = {name for path in sources for name in re.findall(r"\b(?:fn|mod) (\w+)", path.read_text())}
    named = set(re.findall(r"`((?:\w+::)+\w+)…?`", (ROOT / page).read_text()))
    assert named
    missing = [name for name in named if not any(other.startswith(name.rsplit("::", 1)[1]) for other in declared)]
    assert missing == []
