import assert from 'node:assert/strict';
import test from 'node:test';
import { corrected, skewOf } from '../../src/logs/skew.ts';
import { FakePage, FakeWorld } from '../support/fake-service.ts';
import { ulidTime } from '../support/log-routes.ts';

const NOW = Date.parse('2026-01-01T00:00:00Z');
const HOUR = 3_600_000;

const keyOf = (ms: number) => `chime-client-logs/r/1/m/a/${ulidTime(ms)}0000000000000001-logs.gz`;

test('a clock is wrong if the grant is more than a minute outside of its request', () => {
  const cases = [
    [NOW, 0],
    [NOW - 60_000, 0],
    [NOW + 62_000, 0],
    [NOW - 61_000, 62_000],
    [NOW + 63_000, -62_000],
    [NOW - 48 * HOUR, 48 * HOUR + 1_000],
  ] as const;
  for (const [granted, skew] of cases) assert.equal(skewOf(keyOf(granted), NOW, NOW + 2_000), skew);
  for (const key of ['', 'key-1', 'logs/a/2026/01/01/no-ulid.gz']) assert.equal(skewOf(key, NOW, NOW), 0);
});

test('times of both formats are corrected, and nothing that only looks like one', () => {
  const json = `{"time":${NOW},"level":"info","msg":"\\n{\\"time\\":1"}\n{"time":${NOW + 1},"level":"info","msg":"b"}\n`;
  const [first, second, report] = corrected(json, HOUR, NOW)
    .trim()
    .split('\n')
    .map((text) => JSON.parse(text));
  assert.deepEqual(first, { time: NOW - HOUR, clientTime: NOW, level: 'info', msg: '\n{"time":1' });
  assert.deepEqual([second.time, second.clientTime], [NOW + 1 - HOUR, NOW + 1]);
  assert.equal(report.msg, "logferry: the browser's clock is 3600 s fast; times are corrected");
  const text = '2026-01-01T00:00:00.000Z [INFO] a\n  2026-01-01T00:00:00.000Z [INFO] b\n{"time":1\n';
  assert.equal(
    corrected(text, -HOUR, NOW),
    '2026-01-01T01:00:00.000Z [INFO] a\n  2026-01-01T00:00:00.000Z [INFO] b\n{"time":1\n' +
      "2026-01-01T01:00:00.000Z [WARN] logferry: the browser's clock is 3600 s slow; times are corrected\n",
  );
});

test('a wrong clock costs one more grant for the first file, and none for the next', async () => {
  const world = new FakeWorld();
  world.fastMs = HOUR;
  const page = await FakePage.open(world, { format: 'ndjson' });
  for (const n of [1, 2, 3]) {
    page.log(`{"time":${world.clock.now()},"level":"info","msg":"line ${n}"}`);
    page.send({ command: 'UPLOAD_LOGS', request: n });
    await page.messages('LOG_UPLOAD_COMPLETE', n);
  }
  const records = world.lines.map((line) => JSON.parse(line)).filter(({ msg }) => msg.startsWith('line'));
  assert.deepEqual(
    records.map(({ msg, time, clientTime }) => [msg, clientTime - time]),
    [1, 2, 3].map((n) => [`line ${n}`, HOUR]),
  );
  assert.deepEqual([world.count('POST'), world.count('PUT')], [4, 3]);
  const lengths = world.requests.flatMap(({ method, body }) =>
    method === 'POST' ? [JSON.parse(String(body)).contentLength] : [],
  );
  const sizes = [...world.objects.values()].map((text) => text.length);
  assert.deepEqual(lengths.slice(1), sizes);
});

test('with correctClock: false times stay as they were logged', async () => {
  const world = new FakeWorld();
  world.fastMs = HOUR;
  const page = await FakePage.open(world, { format: 'ndjson', correctClock: false });
  const line = `{"time":${world.clock.now()},"level":"info","msg":"line 1"}`;
  page.log(line);
  page.send({ command: 'UPLOAD_LOGS', request: 1 });
  await page.messages('LOG_UPLOAD_COMPLETE');
  assert.deepEqual([world.lines, world.count('POST')], [[line], 1]);
});
