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
