"""Gap: BatchWriteItem never returns UnprocessedItems, so that a caller that ignores them would pass every test.
While the file LOGFERRY_UNPROCESSED_FILE contains a number n, every n-th call returns its last item as unprocessed."""

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

    def patched_write(data):
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

    dynamodb._batch_write_item = patched_write
