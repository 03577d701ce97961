"""The steps of `make check` and `make test`: what runs beside others counts like the others."""

import os
import sys

import pytest

from stack.settings import ROOT
from steps import Step, Steps


def python(what: str, code: str, **variables: str) -> Step:
    return Step(what, (sys.executable, "-c", code), variables)


@pytest.fixture
def steps() -> Steps:
    return Steps(ROOT, dict(os.environ))


def test_a_failed_step_is_named_with_its_last_lines_and_the_others_run(steps, capfd):
    lane = [
        python("wrong aside", "import sys; print('the cause'); sys.exit(3)"),
        python("right aside", "import os; print('variable', os.environ['X'])", X="7"),
    ]
    with steps.beside(*lane):
        steps.run("wrong", sys.executable, "-c", "import sys; sys.exit('the other cause')")
        steps.run("right", sys.executable, "-c", "print('shown')")
    shown, closing = capfd.readouterr().out, steps.closing()
    assert steps.failed.keys() == {"wrong", "wrong aside"}
    assert "failed: wrong aside. Its last lines were:\nthe cause\n" in closing
    assert "failed: wrong. Its last lines were:\nthe other cause\n" in closing
    assert "\n== right aside\nvariable 7\n" in shown
    assert "\n== right\n" in shown and "shown\n" in shown
    assert {one.step for one in steps.durations} == {"wrong", "right", "wrong aside", "right aside"}
    assert all(f" s  {one.step}{' (beside the others)' * one.beside}\n" in closing for one in steps.durations)


def test_a_program_that_is_missing_fails_its_step(steps):
    with steps.beside(Step("missing", ("no-such-program",))):
        pass
    assert "no-such-program" in steps.failed["missing"]


def test_an_error_ends_the_steps_beside_it_and_those_that_would_follow(steps, tmp_path):
    started, followed = tmp_path / "started", tmp_path / "followed"
    lane = [
        python("endless", f"open({str(started)!r}, 'w').close()\nwhile True: pass"),
        python("never", f"open({str(followed)!r}, 'w').close()"),
    ]
    with pytest.raises(RuntimeError), steps.beside(*lane):
        while not started.exists():
            pass
        raise RuntimeError
    assert not followed.exists()
    assert [one.step for one in steps.durations] == ["endless"]


def test_a_block_that_fails_is_timed_all_the_same(steps):
    with pytest.raises(RuntimeError), steps.timed("compilation"):
        raise RuntimeError
    assert "compilation" in steps.closing()
