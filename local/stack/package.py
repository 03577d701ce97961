"""Packs the functions of one architecture for a release: a zip for each, the template that names them, checksums."""

import hashlib
import pathlib
import re

from . import binaries, template
from .settings import FUNCTIONS, ROOT

DIST = ROOT / "dist"


def package(folder: pathlib.Path, architecture: str, into: pathlib.Path = DIST) -> list[pathlib.Path]:
    """Writes the zips, the template and their checksums; returns the files."""
    into.mkdir(parents=True, exist_ok=True)
    written = []
    for name in FUNCTIONS:
        binaries.check(folder / name / "bootstrap", architecture)
        written.append(into / zip_name(name, architecture))
        written[-1].write_bytes(binaries.pack(folder / name, compressed=True))
    written.append(into / f"logferry-{architecture}.yaml")
    written[-1].write_text(packaged(architecture))
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in written]
    written.append(into / f"SHA256SUMS-{architecture}")
    written[-1].write_text("".join(sums))
    return written


def zip_name(function: str, architecture: str) -> str:
    return f"logferry-{architecture}-{function}.zip"


def packaged(architecture: str) -> str:
    """The template beside the zips: `aws cloudformation package` and `sam deploy` upload them from there."""
    source = template.with_code(template.text(), {name: zip_name(name, architecture) for name in FUNCTIONS})
    default = r"(  Architecture:\n    Type: String\n    Default: )\w+"
    source = re.sub(default, rf"\g<1>{architecture}", source, count=1)
    # Files of the repository, which are not beside a packaged template.
    return re.sub(r"    (?:LicenseUrl|ReadmeUrl): .*\n", "", source)
