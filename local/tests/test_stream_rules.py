"""The rules of the stream mapping, without an emulator."""

import importlib.util
import pathlib
import sys

import pytest

PATCHES = pathlib.Path(__file__).resolve().parents[1] / "emulator" / "patches"


@pytest.fixture(scope="module")
def rules():
    # Loaded by its path: importing the package would patch the emulator, which these tests do not need.
    spec = importlib.util.spec_from_file_location("stream_mapping", PATCHES / "stream_mapping.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (None, None),
        ({}, None),
        ({"batchItemFailures": []}, None),
        ({"batchItemFailures": None}, None),
        ({"batchItemFailures": [{"itemIdentifier": "3"}, {"itemIdentifier": "2"}]}, 1),
        ({"batchItemFailures": [{"itemIdentifier": ""}]}, 0),
        ({"batchItemFailures": [{"itemIdentifier": None}]}, 0),
        ({"batchItemFailures": [{"wrong": "2"}]}, 0),
        ({"batchItemFailures": [{"itemIdentifier": "9"}]}, 0),
    ],
)
def test_answers_mean_what_aws_documents(rules, answer, expected):
    assert rules.first_failure(answer, ["1", "2", "3"]) == expected


def deliver(rules, records, handler, retries, bisects):
    """Runs a whole stream through a handler; returns the delivered and the abandoned records."""
    progress, delivered, lost = rules.Progress(0), [], []
    for _ in range(1000):
        batch = records[progress.position : progress.position + progress.limit(100)]
        if not batch:
            return delivered, lost
        at, error = handler(batch)
        if at is None:
            delivered += batch
            progress.done(len(batch))
            continue
        delivered += batch[:at]
        if progress.failed(at, len(batch), bisects and error, retries):
            lost += batch[at:]
            progress.done(len(batch) - at)
    raise AssertionError("the stream is blocked")


def test_only_the_poisoned_record_is_abandoned_if_batches_are_bisected(rules):
    def fails_whole(batch):
        return (0, True) if "bad" in batch else (None, False)

    records = ["a", "b", "c", "bad", "d", "e"]
    delivered, lost = deliver(rules, records, fails_whole, retries=2, bisects=True)
    assert (delivered, lost) == (["a", "b", "c", "d", "e"], ["bad"])


def test_without_bisecting_the_rest_of_the_batch_is_abandoned(rules):
    def reports(batch):
        return (batch.index("bad"), False) if "bad" in batch else (None, False)

    delivered, lost = deliver(rules, ["a", "bad", "b"], reports, retries=2, bisects=False)
    assert (delivered, lost) == (["a"], ["bad", "b"])


def test_without_a_limit_a_batch_is_retried_forever(rules):
    with pytest.raises(AssertionError, match="blocked"):
        deliver(rules, ["bad"], lambda batch: (0, True), retries=-1, bisects=True)


def test_a_batch_waits_for_its_window_unless_it_is_full(rules):
    progress = rules.Progress(0)
    assert progress.must_wait(1, 10, 5, now=100.0)
    assert progress.must_wait(2, 10, 5, now=104.9)
    assert not progress.must_wait(2, 10, 5, now=105.0)
    assert not rules.Progress(0).must_wait(10, 10, 5, now=100.0)


def test_all_changes_of_an_item_are_in_one_lane_and_items_are_spread_over_all_lanes(rules):
    items = [{"pk": {"S": f"app#{number}"}, "sk": {"S": "1"}} for number in range(100)]
    lanes = [rules.lane_of(keys, 10) for keys in items]
    assert lanes == [rules.lane_of(dict(reversed(keys.items())), 10) for keys in items]
    assert set(lanes) == set(range(10))


def test_a_lane_keeps_what_is_not_done(rules):
    lane = rules.Lane(records=["a", "b", "c", "d"])
    assert lane.batch(3) == ["a", "b", "c"]
    assert not lane.failed(1, 3, bisects=False, max_retries=5)
    assert lane.batch(100) == ["b", "c"], "a retried batch gets no further records"
    lane.done(2)
    assert lane.batch(100) == ["d"]
