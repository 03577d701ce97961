"""`logferry cost` counts the alarms and the metrics that the template and the catalogue have. That docs/costs.md shows
its bills is tested in cli/src/cost.rs."""

import re

from test_alarms import ALARMS, watched

from stack.settings import ROOT

CALCULATOR = (ROOT / "cli" / "src" / "cost.rs").read_text()


def constant(name: str) -> float:
    [value] = re.findall(rf"^const {name}: f64 = ([\d.]+);", CALCULATOR, re.MULTILINE)
    return float(value)


def test_alarms_and_metrics_are_as_many_as_the_stack_has():
    assert sum(len(watched(alarm)) for alarm in ALARMS.values()) == constant("ALARM_METRICS")
    catalogue = (ROOT / "shared" / "service" / "src" / "metrics.rs").read_text()
    names = re.findall(r'^    \w+ = "(\w+)", ', catalogue, re.MULTILINE)
    of_health = {"ChecksUp", "ChecksDown", "ChecksSkipped", "ProbeLatency"}
    by_app = {"Records"}  # off by default
    assert len(set(names) - of_health - by_app) == constant("METRICS")
