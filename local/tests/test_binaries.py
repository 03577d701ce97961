"""Packing: what Lambda gets."""

import io
import zipfile

from stack import binaries


def test_equal_binaries_give_equal_zips_with_a_program_that_may_run(tmp_path):
    first, second = tmp_path / "one", tmp_path / "two"
    for copy in (first, second):
        copy.write_bytes(b"\x7fELF" * 1000)
    for compressed in (True, False):
        packed = binaries.pack(first, compressed)
        assert packed == binaries.pack(second, compressed)
        [entry] = zipfile.ZipFile(io.BytesIO(packed)).infolist()
        assert entry.filename == "bootstrap"
        assert entry.external_attr >> 16 == 0o755
