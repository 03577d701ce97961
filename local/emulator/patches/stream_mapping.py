"""Gap: the mapping from a table's stream to a function treats a partial failure as a success, retries
a failed batch forever and as a whole, ignores its batching window and its parallelization factor, and
cannot put abandoned batches into a bucket. This patch implements what AWS documents:
https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-params.html
https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html
https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html

The rules are pure (`first_failure`, `Progress`, `lane_of`); the code below them uses the emulator."""

import concurrent.futures
import contextvars
import dataclasses
import datetime
import json
import os
import time
import uuid
import zlib

import botocore.session
from ministack.core import lambda_runtime
from ministack.services import dynamodb, lambda_svc

# AWS backs off; the tests need to see the last retry.
RETRY_PAUSE_SECS = 0.2
# Number of records that are taken from the stream at a time.
RECORDS_PER_READ = 10_000
# Concurrent batches of all mappings.
LANES_AT_ONCE = 32
SHARD_ID = "shardId-00000000000000000000-00000000"


def first_failure(answer, sequence_numbers: list[str]) -> int | None:
    """Index of the first record that an answer reports as failed; None if the batch succeeded.

    An answer that names no failures is a success; one that names an unknown record fails the whole batch."""
    failures = answer.get("batchItemFailures") if isinstance(answer, dict) else None
    if not failures:
        return None
    try:
        return min(sequence_numbers.index(failure["itemIdentifier"]) for failure in failures)
    except (KeyError, TypeError, ValueError):
        return 0


@dataclasses.dataclass
class Progress:
    """The progress of a mapping: `position` is the first record that is not done."""

    position: int
    # Ends of the pieces of a batch that is being retried, the nearest last.
    ends: list[int] = dataclasses.field(default_factory=list)
    tries: int = 0
    waiting_since: float | None = None

    def limit(self, batch_size: int) -> int:
        return self.ends[-1] - self.position if self.ends else batch_size

    def must_wait(self, records: int, batch_size: int, window_secs: float, now: float) -> bool:
        """Whether an incomplete batch may still fill up within its window."""
        if self.ends or records >= batch_size:
            return False
        if self.waiting_since is None:
            self.waiting_since = now
        return now - self.waiting_since < window_secs

    def done(self, records: int) -> None:
        self.position += records
        self.tries, self.waiting_since = 0, None
        while self.ends and self.ends[-1] <= self.position:
            self.ends.pop()

    def failed(self, at: int, records: int, bisects: bool, max_retries: int) -> bool:
        """Records a failure at record `at` of `records`; returns whether the rest must be abandoned.

        Records before the failure are done and are not sent again. Bisecting does not use up a retry;
        progress does not reset the retries."""
        end, tries = self.position + records, self.tries + 1
        if at > 0:
            self.done(at)
        elif bisects and records > 1:
            if not self.ends:
                self.ends.append(end)
            self.ends.append(self.position + records // 2)
            self.tries = 0
            return False
        if not self.ends or self.ends[-1] != end:
            self.ends.append(end)
        self.tries = tries
        return 0 <= max_retries < tries


def lane_of(keys: dict, lanes: int) -> int:
    """The lane of an item: all changes of an item are in one lane, in order."""
    return zlib.crc32(json.dumps(keys, sort_keys=True).encode()) % lanes


@dataclasses.dataclass
class Lane:
    """The records of a mapping that are delivered one batch after the other. Lanes are delivered concurrently."""

    progress: Progress = dataclasses.field(default_factory=lambda: Progress(0))
    # The records that are not done; `progress.position` is the first of them.
    records: list[dict] = dataclasses.field(default_factory=list)
    busy: bool = False
    backoff_until: float = 0

    def batch(self, batch_size: int) -> list[dict]:
        return self.records[: self.progress.limit(batch_size)]

    def done(self, records: int) -> None:
        self.progress.done(records)
        del self.records[:records]

    def failed(self, at: int, records: int, bisects: bool, max_retries: int) -> bool:
        given_up = self.progress.failed(at, records, bisects, max_retries)
        del self.records[:at]
        return given_up


@dataclasses.dataclass
class Reader:
    """A mapping's position in the stream, and its lanes."""

    position: int
    lanes: list[Lane]

    def read(self, table: str) -> None:
        self.position = max(self.position, dynamodb.stream_start_position(table))
        for record in dynamodb.stream_records_since(table, self.position, RECORDS_PER_READ):
            self.lanes[lane_of(record["dynamodb"]["Keys"], len(self.lanes))].records.append(record)
            self.position += 1


_readers: dict[str, Reader] = {}
_pool = concurrent.futures.ThreadPoolExecutor(max_workers=LANES_AT_ONCE, thread_name_prefix="stream-mapping")


def _poll() -> bool:
    """One pass over all mappings; returns whether a batch was started."""
    any_started = False
    for account, region, mapping in lambda_svc._iter_all_esms():
        account_token = lambda_svc._request_account_id.set(account)
        region_token = lambda_svc._request_region.set(region)
        try:
            any_started = _poll_one(mapping) or any_started
        finally:
            lambda_svc._request_account_id.reset(account_token)
            lambda_svc._request_region.reset(region_token)
    return any_started


def _poll_one(mapping: dict) -> bool:
    stream = mapping.get("EventSourceArn", "")
    if not mapping.get("Enabled", True) or ":dynamodb:" not in stream:
        return False
    table = lambda_svc._dynamodb_stream_table_from_arn_spec(lambda_svc.parse_arn(stream))[0]
    function, _ = lambda_svc._get_func_record_for_qualifier(mapping["FunctionName"], mapping.get("Qualifier"))
    if function is None or dynamodb._tables.get(table, {}).get("LatestStreamArn") != stream:
        return False
    reader = _reader_of(mapping, table)
    reader.read(table)
    now, any_started = time.time(), False
    for lane in reader.lanes:
        if lane.busy or lane.backoff_until > now:
            continue
        batch_size = mapping.get("BatchSize", 100)
        records = lane.batch(batch_size)
        window_secs = mapping.get("MaximumBatchingWindowInSeconds", 0)
        if records and not lane.progress.must_wait(len(records), batch_size, window_secs, now):
            lane.busy = any_started = True
            _pool.submit(contextvars.copy_context().run, _deliver, mapping, function, lane, records)
    return any_started


def _deliver(mapping: dict, function: dict, lane: Lane, records: list[dict]) -> None:
    """Delivers one batch of a lane."""
    try:
        _deliver_batch(mapping, function, lane, records)
    except Exception:
        lambda_svc.logger.exception("the mapping of %s failed; the batch is retried", mapping["EventSourceArn"])
        lane.backoff_until = time.time() + RETRY_PAUSE_SECS
    finally:
        lane.busy = False
        lambda_svc._esm_wake.set()


def _deliver_batch(mapping: dict, function: dict, lane: Lane, records: list[dict]) -> None:
    now, age_limit = time.time(), mapping.get("MaximumRecordAgeInSeconds", -1)
    too_old = sum(age_limit > 0 and now - _created(record) > age_limit for record in records)
    if too_old:
        _give_up(mapping, function, records[:too_old], {}, "RecordAgeExceeded")
        lane.done(too_old)
        return

    batch = lambda_svc._apply_filter_criteria(records, mapping)
    result = lambda_svc._execute_function(function, {"Records": batch}) if batch else {}
    at = None
    if result.get("error"):
        at = 0
    elif "ReportBatchItemFailures" in (mapping.get("FunctionResponseTypes") or []):
        at = first_failure(result.get("body"), [record["dynamodb"]["SequenceNumber"] for record in records])
    if at is None:
        mapping["LastProcessingResult"] = "OK"
        lane.done(len(records))
        return

    mapping["LastProcessingResult"] = "PROBLEM: Function call failed"
    table, log_tail = mapping["EventSourceArn"], (result.get("log") or "")[-500:]
    lambda_svc.logger.warning("mapping of %s: %d records failed at %d: %s", table, len(batch), at, log_tail)
    bisects = bool(mapping.get("BisectBatchOnFunctionError") and result.get("error"))
    if lane.failed(at, len(records), bisects, mapping.get("MaximumRetryAttempts", -1)):
        rest = records[at:]
        _give_up(mapping, function, rest, result, "RetryAttemptsExhausted")
        lane.done(len(rest))
    else:
        lane.backoff_until = now + RETRY_PAUSE_SECS


def _reader_of(mapping: dict, table: str) -> Reader:
    reader = _readers.get(mapping["UUID"])
    if reader is None:
        start, end = dynamodb.stream_start_position(table), dynamodb.stream_end_position(table)
        from_start = mapping.get("StartingPosition", "LATEST") == "TRIM_HORIZON"
        anchored = lambda_svc._dynamodb_stream_positions.get(mapping["UUID"], start if from_start else end)
        # CloudFormation passes a parameter on as text.
        lanes = [Lane() for _ in range(int(mapping.get("ParallelizationFactor") or 1))]
        reader = _readers[mapping["UUID"]] = Reader(anchored, lanes)
    return reader


def _created(record: dict) -> float:
    return float(record["dynamodb"].get("ApproximateCreationDateTime", time.time()))


def _give_up(mapping: dict, function: dict, records: list[dict], result: dict, condition: str) -> None:
    """Sends records that will not be retried to the mapping's failure destination."""
    destination = ((mapping.get("DestinationConfig") or {}).get("OnFailure") or {}).get("Destination", "")
    if ":s3:" not in destination:
        lambda_svc._send_ddb_stream_failure_record(
            mapping, function, records, mapping["EventSourceArn"], result, condition
        )
        return
    now = datetime.datetime.now(datetime.UTC)
    stamp = now.strftime("%Y-%m-%dT%H.%M.%S")
    name = f"aws/lambda/{mapping['UUID']}/{SHARD_ID}/{now:%Y/%m/%d}/{stamp}-{uuid.uuid4()}"
    config = function.get("config") or function
    # With the function's own role, as on AWS, so that a missing permission is noticed.
    credentials = lambda_runtime.execution_credentials(config)
    session = botocore.session.get_session()
    session.set_credentials(*credentials.values())
    region = mapping["EventSourceArn"].split(":")[3]
    s3 = session.create_client("s3", region_name=region, endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    body = json.dumps(_invocation_record(mapping, config, records, result, condition, now))
    try:
        s3.put_object(Bucket=destination.split(":::")[1], Key=name, Body=body)
    except Exception as problem:
        lambda_svc.logger.error("failure destination %s: %s", destination, problem)


def _invocation_record(mapping, config, records, result, condition, now) -> dict:
    """The record that AWS writes to a bucket: metadata, and the whole event as text in `payload`."""
    first, last = records[0], records[-1]

    def iso(seconds: float) -> str:
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    return {
        "requestContext": {
            "requestId": str(uuid.uuid4()),
            "functionArn": config.get("FunctionArn", ""),
            "condition": condition,
            "approximateInvokeCount": max(1, mapping.get("MaximumRetryAttempts", 0) + 1),
        },
        "responseContext": {
            "statusCode": 200,
            "executedVersion": "$LATEST",
            "functionError": "Unhandled" if result.get("error") else None,
        },
        "version": "1.0",
        "timestamp": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "DDBStreamBatchInfo": {
            "shardId": SHARD_ID,
            "startSequenceNumber": first["dynamodb"]["SequenceNumber"],
            "endSequenceNumber": last["dynamodb"]["SequenceNumber"],
            "approximateArrivalOfFirstRecord": iso(_created(first)),
            "approximateArrivalOfLastRecord": iso(_created(last)),
            "batchSize": len(records),
            "streamArn": mapping["EventSourceArn"],
        },
        "payload": json.dumps({"Records": records}, default=str),
    }


def apply() -> None:
    lambda_svc._poll_dynamodb_streams = _poll
