"""Builds, starts and deploys a local stack."""

import re
import time

from . import binaries, console, deploy, emulator, settings


def bring_up(chosen: settings.Settings, with_tests: bool = False) -> tuple[dict[str, str], float]:
    """Builds, starts the emulator if it is not running, deploys, and writes local.env; returns its values and
    the seconds this took without compilation."""
    chosen.state.mkdir(parents=True, exist_ok=True)
    console.build_if_possible()
    folder = binaries.build(chosen.profile, with_tests=with_tests)
    begun = time.monotonic()
    running = emulator.find(chosen)
    if running and running.fingerprint != emulator.fingerprint(chosen):
        print("the emulator or its settings changed: restarting it, its data is deleted")
        emulator.stop(chosen)
        running = None
    if not running:
        emulator.start(chosen)
    try:
        outputs = deploy.deploy(deploy.emulator(chosen), folder)
    except settings.Problem:
        if not running:
            emulator.stop(chosen)  # an incomplete stack is of no use
        raise
    values = deploy.local_env(chosen, outputs)
    chosen.local_env.touch(mode=0o600)
    chosen.local_env.write_text(_lines(values))
    return values, time.monotonic() - begun


def _lines(values: dict[str, str]) -> str:
    """Returns NAME=value lines that a shell and every other reader understand alike: no value needs quotes."""
    for name, value in values.items():
        if not re.fullmatch(r"[A-Za-z0-9_./:@%+,-]*", value):
            raise settings.Problem(f"{name} cannot be written to local.env: {value!r}")
    return "".join(f"{name}={value}\n" for name, value in values.items())
