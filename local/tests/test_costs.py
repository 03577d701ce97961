"""The bills of docs/costs.md are those that `make cost` computes, from the template and the catalogue as they are."""

import dataclasses
import re

import pytest
from test_alarms import ALARMS, watched

import costs
from stack.settings import ROOT

PAGE = (ROOT / "docs" / "costs.md").read_text()


def test_the_page_shows_the_bills_of_the_calculator():
    users = [costs.SMALL, costs.MIDDLE, costs.LARGE]
    assert costs.table([use for user in users for use in (user, costs.narrowed(user))]) in PAGE


def test_alarms_and_metrics_are_as_many_as_the_stack_has():
    assert sum(len(watched(alarm)) for alarm in ALARMS.values()) == costs.ALARM_METRICS
    catalogue = (ROOT / "shared" / "service" / "src" / "metrics.rs").read_text()
    names = re.findall(r'^    \w+ = "(\w+)", ', catalogue, re.MULTILINE)
    of_health = {"ChecksUp", "ChecksDown", "ChecksSkipped", "ProbeLatency"}
    by_app = {"Records"}  # off by default
    assert len(set(names) - of_health - by_app) == costs.METRICS


def test_the_units_are_those_that_the_page_explains():
    [units] = re.findall(r"\*\*blocks of about 64 KiB \(Logferry\)\*\* \| \*\*([\d,]+)\*\*", PAGE)
    assert int(units.replace(",", "")) / 0.534 == pytest.approx(costs.UNITS_PER_GB, rel=0.01)
    # A record of a batch of 100, as the page's table of API writes has it.
    per_entry = (costs.UNITS_PER_WRITE + 99 * costs.UNITS_PER_ENTRY) / 100
    [units] = re.findall(r"^\| 100 \| ([\d,]+) \|", PAGE, re.MULTILINE)
    assert int(units.replace(",", "")) / 1e6 == pytest.approx(per_entry, rel=0.1)


@pytest.mark.parametrize("field", ["gb", "requests", "entries", "retention_days", "months"])
def test_more_of_anything_costs_no_less(field):
    more = dataclasses.replace(costs.MIDDLE, **{field: getattr(costs.MIDDLE, field) * 2})
    assert sum(costs.bill(more).values()) > sum(costs.bill(costs.MIDDLE).values())


def test_a_deployment_without_logs_costs_what_the_page_says_a_stack_at_rest_costs():
    at_rest = sum(costs.bill(costs.Use()).values()) - costs.METRICS * costs.METRIC
    assert f"about {at_rest:.0f} USD a month (alarms" in PAGE
