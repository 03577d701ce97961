"""Gap: BatchWriteItem never leaves anything unprocessed, so nobody would notice a caller that
forgets to look. Switched on by a file: while LOGFERRY_UNPROCESSED_FILE holds a number n, the last
item of every n-th call comes back as UnprocessedItems."""

import itertools
import json
import os
import pathlib

from ministack.services import dynamodb

_calls = itertools.count(1)
# Both depend on the body, which is replaced below; the emulator computes them again.
_BODY_HEADERS = ("content-length", "x-amz-crc32")


def _every() -> int:
    try:
        return int(pathlib.Path(os.environ["LOGFERRY_UNPROCESSED_FILE"]).read_text())
    except (KeyError, OSError, ValueError):
        return 0


def apply() -> None:
    write = dynamodb._batch_write_item

    def mended_write(data):
        requests = data.get("RequestItems") or {}
        every = _every()
        if not every or not requests or next(_calls) % every:
            return write(data)
        table = next(iter(requests))
        *written, left = requests[table]
        rest = {**requests, table: written}
        if not written:
            del rest[table]
        if rest:
            status, headers, body = write({**data, "RequestItems": rest})
            if status != 200:
                return status, headers, body
            answer = json.loads(body)
        else:
            headers, answer = {"Content-Type": "application/x-amz-json-1.0"}, {}
        answer["UnprocessedItems"] = {table: [left]}
        headers = {name: value for name, value in headers.items() if name.lower() not in _BODY_HEADERS}
        return 200, headers, json.dumps(answer).encode()

    dynamodb._batch_write_item = mended_write
