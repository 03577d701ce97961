"""Starting and stopping the emulator: down ends exactly what up started."""

import dataclasses
import os
import signal
import socket
import subprocess

import pytest

from stack import emulator, settings, tests


def test_a_stopped_emulator_leaves_no_process_and_frees_its_port(start_emulator):
    chosen = start_emulator("on")
    running = emulator.find(chosen)
    assert running and running.alive()
    assert emulator.stop(chosen)
    assert not running.alive()
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", chosen.port))
    assert not emulator.stop(chosen), "stopping twice does nothing"


def test_another_process_with_the_recorded_id_keeps_running(start_emulator):
    chosen = start_emulator("on")
    os.kill(emulator.find(chosen).pid, signal.SIGKILL)
    with subprocess.Popen(["sleep", "600"]) as stranger:
        record = chosen.state / "emulator.json"
        record.write_text(f'{{"pid": {stranger.pid}, "started": "1", "fingerprint": ""}}')
        assert not emulator.stop(chosen)
        assert stranger.poll() is None
        stranger.kill()


def test_a_taken_port_is_reported_before_anything_starts(start_emulator, tmp_path):
    second = dataclasses.replace(start_emulator("on"), state=tmp_path)
    with pytest.raises(settings.Problem, match="LOGFERRY_PORT"):
        emulator.start(second)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "environment",
    [
        {"LOGFERRY_PORT": "http"},
        {"LOGFERRY_PORT": "0"},
        {"PROFILE": "fast"},
        {"PARAMETERS": "LogLevel"},
        {"PARAMETERS": "Name='open"},
    ],
)
def test_wrong_settings_are_refused(environment):
    with pytest.raises(settings.Problem):
        settings.from_environment(environment)


def test_a_value_with_spaces_is_quoted_as_in_a_shell():
    chosen = settings.from_environment({"PARAMETERS": r"RedactPatterns='a\s+ (b|c)' LogLevel=warn"})
    assert chosen.parameters == {"RedactPatterns": r"a\s+ (b|c)", "LogLevel": "warn"}


def test_an_emulator_of_a_killed_test_run_is_ended_by_the_next_run(start_emulator, tmp_path, monkeypatch):
    monkeypatch.setattr(tests, "STATES", tmp_path)
    killed, alive = tmp_path / "killed", tmp_path / "alive"
    for state, owner in ((killed, "1 0"), (alive, emulator.this_process())):
        state.mkdir()
        (state / "owner").write_text(owner)
    left = start_emulator("on", killed)
    running = emulator.find(left)
    tests._forget_earlier_runs(left)
    assert not running.alive()
    assert (killed.exists(), alive.exists()) == (False, True)
