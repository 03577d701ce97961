"""Which concurrency a first deployment reserves."""

import pytest

from stack import aws


@pytest.mark.parametrize("limit", [10, 50, 100, 199])
def test_an_account_with_a_small_limit_reserves_nothing_and_still_deploys(limit):
    assert aws.reservations(limit) == {}


@pytest.mark.parametrize("limit", [200, 500, 1000, 10_000])
def test_reservations_keep_a_part_for_each_function_and_leave_what_lambda_asks_for(limit):
    reserved = {name: int(value) for name, value in aws.reservations(limit).items()}
    assert set(reserved) == {f"ReservedConcurrency{name}" for name in ("Ingest", "Api", "Flush", "Presign")}
    assert all(value > 0 for value in reserved.values())
    assert limit - sum(reserved.values()) >= aws.UNRESERVABLE
    # Neither a burst of files nor of queries takes half of the account.
    assert max(reserved.values()) < limit / 2
