"""Patches for the differences between the emulator and AWS that matter here.

Each module closes one gap, which its first lines describe, in `apply`. tests/test_patches.py shows for each that
the unpatched emulator has the gap and the patched one does not. When the first half fails, remove the patch."""

from . import (
    encoded_bodies,
    generated_secrets,
    http_api_cors,
    metric_math_alarms,
    newlines_in_paths,
    put_log_events,
    secret_refs,
    stack_refusals,
    stream_mapping,
    taken_names,
    time_to_live,
    trailing_slash,
    unprocessed_items,
)

ALL = (
    encoded_bodies,
    generated_secrets,
    http_api_cors,
    metric_math_alarms,
    newlines_in_paths,
    put_log_events,
    secret_refs,
    stack_refusals,
    stream_mapping,
    taken_names,
    time_to_live,
    trailing_slash,
    unprocessed_items,
)


def apply() -> None:
    for patch in ALL:
        patch.apply()
