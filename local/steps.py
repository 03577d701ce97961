"""Runs the steps of `make check` and `make test`, some beside each other, and prints the seconds of each.

Needs only Python's standard library: `make check` installs the tools beside its first steps."""

import collections
import contextlib
import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

# Lines of a failed step's output that are printed again at the end, where runners name what failed.
CLOSING_LINES = 80


@dataclasses.dataclass(frozen=True)
class Step:
    what: str
    command: tuple
    # Variables beside those of all steps.
    variables: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Duration:
    step: str
    seconds: float
    beside: bool


class Steps:
    """Continues after a step that fails; `failed` has the last lines of each."""

    def __init__(self, folder: pathlib.Path, environment: dict[str, str]):
        self.folder, self.environment = folder, environment
        self.durations: list[Duration] = []
        self.failed: dict[str, str] = {}
        self._began = time.monotonic()
        self._output = threading.Lock()
        # The step whose output is shown as it comes; empty between two.
        self._main = ""
        # The process of a step that runs beside it.
        self._aside: subprocess.Popen | None = None

    def run(self, what: str, *command, **variables: str) -> None:
        """Runs a step whose output is shown as it comes."""
        self._begin(what)
        self._run(Step(what, command, variables), collections.deque(maxlen=CLOSING_LINES), self._show)
        self._main = ""

    @contextlib.contextmanager
    def timed(self, what: str):
        """What the `with` block does is a step."""
        self._begin(what)
        began = time.monotonic()
        try:
            yield
        finally:
            self.durations.append(Duration(what, time.monotonic() - began, beside=False))
            self._main = ""

    @contextlib.contextmanager
    def beside(self, *lane: Step):
        """Runs steps one after another while the `with` block runs, and shows the output of each when it has ended.
        If the block fails, they are ended."""
        ended = threading.Event()

        def follow() -> None:
            for step in lane:
                if ended.is_set():
                    return
                lines = []
                try:
                    self._run(step, lines, None)
                except Exception as error:  # an error of this thread would not fail the run
                    self.failed[step.what] = repr(error)
                again = f"\n== {self._main}, continued\n" if self._main else ""
                self._show(f"\n== {step.what}\n{''.join(lines)}{again}")

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        except BaseException:
            ended.set()
            while thread.is_alive():  # it may be about to start a process
                if self._aside:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(self._aside.pid, signal.SIGTERM)
                thread.join(0.1)
            raise
        finally:
            thread.join()

    def _begin(self, what: str) -> None:
        self._main = what
        self._show(f"\n== {what}\n")

    def _run(self, step: Step, lines, show) -> None:
        began = time.monotonic()
        try:
            process = subprocess.Popen(
                step.command,
                cwd=self.folder,
                env={**self.environment, **step.variables},
                stdin=subprocess.DEVNULL if show is None else None,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                # So that `beside` can end what the process has started, too.
                start_new_session=show is None,
            )
        except OSError as error:
            lines.append(f"{error}\n")
            self.failed[step.what] = str(error)
            return
        if show is None:
            self._aside = process
        with process:
            for line in process.stdout:
                if show:
                    show(line)
                lines.append(line)
        if process.returncode:
            self.failed[step.what] = "".join(list(lines)[-CLOSING_LINES:])
        self.durations.append(Duration(step.what, time.monotonic() - began, beside=show is None))

    def _show(self, text: str) -> None:
        with self._output:
            sys.stdout.write(text)
            sys.stdout.flush()

    def closing(self) -> str:
        """The seconds of each step, and the last lines of those that failed."""
        total = time.monotonic() - self._began
        names = {True: " (beside the others)", False: ""}
        rows = [f"  {one.seconds:6.0f} s  {one.step}{names[one.beside]}" for one in self.durations]
        parts = ["\n".join(["", "== where the time went", *rows, f"  {total:6.0f} s  in all"])]
        parts += [f"\n== failed: {what}. Its last lines were:\n{lines}" for what, lines in self.failed.items()]
        return "\n".join(parts)
