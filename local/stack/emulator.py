"""Starts and stops the emulator: on 127.0.0.1, in its own process group, without the caller's environment, so that
neither it nor a function can reach a real account."""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

from .settings import ACCESS_KEY, REGION, ROOT, SECRET_KEY, Problem, Settings

LAUNCHER = ROOT / "local" / "emulator" / "main.py"
START_SECS = 60
STOP_SECS = 10
# Passed to the emulator and from it to the functions: a proxy that injects faults can be put between.
PASSED_ON = (
    "AWS_ENDPOINT_URL_DYNAMODB",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS",
    "AWS_ENDPOINT_URL_LAMBDA",
    "LOGFERRY_PATCHES",
)


@dataclasses.dataclass(frozen=True)
class Running:
    """A process that `start` started. The start time distinguishes it from a later process with the same id."""

    pid: int
    started: str
    fingerprint: str

    def alive(self) -> bool:
        return _start_time(self.pid) == self.started


def find(settings: Settings) -> Running | None:
    """Returns the emulator that was started for this state folder; None if it does not run."""
    try:
        running = Running(**json.loads(_record(settings).read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return running if running.alive() else None


def this_process() -> str:
    """Returns a name of this process; `process_alive` distinguishes it from a later one with the same id."""
    return f"{os.getpid()} {_start_time(os.getpid())}"


def process_alive(name: str) -> bool:
    pid, _, started = name.partition(" ")
    return bool(started) and _start_time(int(pid)) == started


def start(settings: Settings) -> Running:
    """Starts the emulator and waits until it answers."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", settings.port)) == 0:
            raise Problem(f"port {settings.port} is in use by another program: set LOGFERRY_PORT to a free port")
    folder = settings.emulator_dir
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "tmp").mkdir(parents=True)
    with open(folder / "log", "w") as log:
        process = subprocess.Popen(
            [sys.executable, LAUNCHER], env=_environment(settings), cwd=folder, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    running = Running(process.pid, _start_time(process.pid), fingerprint(settings))
    _record(settings).write_text(json.dumps(dataclasses.asdict(running)))
    deadline = time.monotonic() + START_SECS
    while not _answers(settings):
        if process.poll() is not None or time.monotonic() > deadline:
            stop(settings)
            raise Problem(f"the emulator did not start; its log: {folder / 'log'}")
        time.sleep(0.05)
    return running


def stop(settings: Settings) -> bool:
    """Ends the emulator and its functions; returns whether it was running."""
    running = find(settings)
    if running:
        for kind in (signal.SIGTERM, signal.SIGKILL):
            _signal_group(running.pid, kind)
            if _gone_within(running, STOP_SECS):
                break
    # Functions that outlived this emulator or an earlier one.
    for pid in _functions_left(settings):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    _record(settings).unlink(missing_ok=True)
    settings.local_env.unlink(missing_ok=True)
    return running is not None


def fingerprint(settings: Settings) -> str:
    """Returns a hash of all that `start` depends on. If it changes, a running emulator is out of date."""
    digest = hashlib.sha256(json.dumps(_environment(settings), sort_keys=True).encode())
    for source in sorted(LAUNCHER.parent.rglob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def _environment(settings: Settings) -> dict[str, str]:
    folder = settings.emulator_dir
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "TMPDIR": str(folder / "tmp"),
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(settings.port),
        "AWS_ENDPOINT_URL": settings.endpoint,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_DEFAULT_REGION": REGION,
        "MINISTACK_REGION": REGION,
        # The functions have only the rights of their roles in the template.
        "AUTH": "true",
        "LAMBDA_ASYNC_RETRY_BASE_SECONDS": "1",
        "LOGFERRY_UNPROCESSED_FILE": str(settings.unprocessed_file),
        **{name: os.environ[name] for name in PASSED_ON if os.environ.get(name)},
    }


def _record(settings: Settings) -> pathlib.Path:
    return settings.state / "emulator.json"


def _answers(settings: Settings) -> bool:
    try:
        with urllib.request.urlopen(f"{settings.endpoint}/_ministack/health", timeout=2):
            return True
    except OSError:
        return False


def _start_time(pid: int) -> str:
    """Returns field 22 of /proc/{pid}/stat; empty if there is no such process, or only a zombie."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]


def _functions_left(settings: Settings) -> list[int]:
    """Returns the processes with a program in the emulator's folder."""
    left = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "exe").readlink().is_relative_to(settings.emulator_dir):
                    left.append(int(entry.name))
            except OSError:
                pass  # it has ended, or belongs to another user
    return left


def _signal_group(group: int, kind: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, kind)


def _gone_within(running: Running, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while running.alive():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
