"""Packing: what Lambda gets."""

import io
import zipfile

from stack import binaries


def folder_of(where, name):
    folder = where / name
    (folder / "console").mkdir(parents=True)
    (folder / "bootstrap").write_bytes(b"\x7fELF" * 1000)
    (folder / "console" / "index.html").write_text("<title>console</title>")
    return folder


def test_equal_folders_give_equal_zips_with_a_program_that_may_run(tmp_path):
    first, second = folder_of(tmp_path, "one"), folder_of(tmp_path, "two")
    for compressed in (True, False):
        packed = binaries.pack(first, compressed)
        assert packed == binaries.pack(second, compressed)
        entries = zipfile.ZipFile(io.BytesIO(packed)).infolist()
        modes = {entry.filename: entry.external_attr >> 16 for entry in entries}
        assert modes == {"bootstrap": 0o755, "console/index.html": 0o644}


def test_a_change_of_the_console_alone_is_another_package(tmp_path):
    folder = folder_of(tmp_path, "api")
    before = binaries.digest(folder)
    assert before == binaries.digest(folder_of(tmp_path / "again", "api"))
    (folder / "console" / "index.html").write_text("<title>console</title>\n")
    assert before != binaries.digest(folder)


def test_a_function_without_a_console_is_its_program_alone(tmp_path):
    (tmp_path / "bootstrap").write_bytes(b"\x7fELF")
    assert [path.name for path in binaries.contents(tmp_path)] == ["bootstrap"]
