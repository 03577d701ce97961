"""Two emulators for the tests of the patches: an unpatched one and a patched one."""

import dataclasses
import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from stack import emulator, settings


@pytest.fixture(scope="session")
def start_emulator(tmp_path_factory):
    """Starts emulators that end with the session."""
    started = []

    def start(patches: str, state: pathlib.Path | None = None) -> settings.Settings:
        state = state or tmp_path_factory.mktemp(f"patches-{patches}")
        chosen = dataclasses.replace(settings.from_environment({}), port=settings.free_port(), state=state)
        os.environ["LOGFERRY_PATCHES"] = patches
        emulator.start(chosen)
        started.append(chosen)
        return chosen

    yield start
    os.environ.pop("LOGFERRY_PATCHES", None)
    for chosen in started:
        emulator.stop(chosen)


@pytest.fixture(scope="session")
def stock(start_emulator) -> settings.Settings:
    return start_emulator("off")


@pytest.fixture(scope="session")
def patched(start_emulator) -> settings.Settings:
    return start_emulator("on")
