"""Where the emulator differs from AWS in ways that matter here, put right one by one.

Each module closes one gap, which its first lines name, and patches the emulator in `apply`.
tests/test_mends.py shows for every one that the emulator as it comes still has the gap, and that
the mended one has not: the day the first half fails, the mend can go."""

from . import (
    generated_secrets,
    http_api_cors,
    put_log_events,
    stream_mapping,
    time_to_live,
    unprocessed_items,
)

ALL = (generated_secrets, http_api_cors, put_log_events, stream_mapping, time_to_live, unprocessed_items)


def apply() -> None:
    for mend in ALL:
        mend.apply()
