import assert from 'node:assert/strict';
import test from 'node:test';
import { delayMs, retryAfterMs } from '../../src/host/backoff.ts';

const backoff = { baseMs: 1_000, maxMs: 60_000, rareAfter: 10, rareMs: 300_000 };

test('a delay doubles from its base to its limit', () => {
  const tops = [1, 2, 3, 6, 7, 9].map((failures) => delayMs(backoff, failures, () => 1));
  assert.deepEqual(tops, [1_000, 2_000, 4_000, 32_000, 60_000, 60_000]);
});

test('jitter covers the whole delay', () => {
  assert.equal(
    delayMs(backoff, 3, () => 0.5),
    2_000,
  );
  assert.equal(
    delayMs(backoff, 3, () => 0),
    1,
  );
});

test('after many failures tries become rare', () => {
  assert.equal(
    delayMs(backoff, 10, () => 0),
    300_000,
  );
  assert.equal(
    delayMs(backoff, 500, () => 1),
    360_000,
  );
});

test('Retry-After is read as seconds or as a date', () => {
  const now = Date.parse('2026-01-01T00:00:00Z');
  assert.equal(retryAfterMs('7', now), 7_000);
  assert.equal(retryAfterMs('Thu, 01 Jan 2026 00:00:30 GMT', now), 30_000);
  assert.equal(retryAfterMs('soon', now), undefined);
  assert.equal(retryAfterMs(null, now), undefined);
});
