import assert from 'node:assert/strict';
import test from 'node:test';
import { ENDPOINT, FakePage, FakeWorld } from '../support/fake-service.ts';

const MINUTE = 60_000;
const DAY = 86_400_000;
const AUTO = { autoUpload: true, flushIntervalMs: 120_000 };

const refused = (status: number, retryAfterMs?: number) => ({
  status,
  retryAfterMs,
  text: '{"error":{"message":"no"}}',
});

test('25 with nothing to send there is no request in ten minutes', async () => {
  const world = new FakeWorld();
  await FakePage.open(world, AUTO);
  await world.clock.advance(10 * MINUTE);
  assert.equal(world.requests.length, 0);
});

test('25 one URL is asked for per file', async () => {
  const world = new FakeWorld();
  const page = await FakePage.open(world, AUTO);
  page.log('line 1', 'line 2');
  await page.committed();
  await world.clock.advance(10 * MINUTE);
  page.log('line 3');
  await page.committed();
  await world.clock.advance(10 * MINUTE);
  assert.deepEqual([world.count('POST'), world.count('PUT')], [2, 2]);
  assert.deepEqual(world.lines, ['line 1', 'line 2', 'line 3']);
});

test('13 a simulated day offline costs at most 300 tries, and nothing is lost', async () => {
  const world = new FakeWorld();
  const page = await FakePage.open(world, AUTO);
  world.answer = () => 'offline';
  for (let hour = 0; hour < 24; hour += 1) {
    page.log(`line ${hour}`);
    await page.committed();
    await world.clock.advance(60 * MINUTE);
  }
  assert.ok(world.requests.length > 100 && world.requests.length <= 300, `${world.requests.length} tries`);
  world.answer = () => null;
  page.send({ command: 'NETWORK', online: true });
  await page.committed();
  await world.clock.advance(1_000);
  assert.equal(world.lines.length, 24);
});

test('30 after 429 with Retry-After: 7 there is no try for seven seconds', async () => {
  const world = new FakeWorld();
  const page = await FakePage.open(world);
  world.answer = () => refused(429, 7_000);
  page.log('line 1');
  await page.committed();
  page.send({ command: 'UPLOAD_LOGS', request: 1 });
  await page.committed();
  world.answer = () => null;
  page.send({ command: 'NETWORK', online: true });
  page.send({ command: 'UPLOAD_LOGS', request: 2 });
  await page.committed();
  await world.clock.advance(6_500);
  assert.equal(world.requests.length, 1);
  await world.clock.advance(1_000);
  assert.deepEqual(world.lines, ['line 1']);
  const [, second] = world.requests;
  assert.ok((second?.at ?? 0) - (world.requests[0]?.at ?? 0) >= 7_000);
});

test('6 a token that stays refused is asked for at most once a minute', async () => {
  const world = new FakeWorld();
  const page = await FakePage.open(world, AUTO);
  let asked = 0;
  page.token = () => {
    asked += 1;
    return `token-${asked}`;
  };
  world.answer = (request) => (request.method === 'POST' ? refused(401) : null);
  page.log('line 1');
  await page.committed();
  await world.clock.advance(10 * MINUTE);
  assert.ok(asked >= 2 && asked <= 11, `${asked} questions in ten minutes`);
});

test('28 lines of an earlier meeting go with a token of that meeting, stay without, and expire', async () => {
  const world = new FakeWorld();
  const yesterday = await FakePage.open(world, { meetingId: 'm-0', tab: 'tab-0' });
  yesterday.send({ command: 'PUT_LOGS', tab: 'tab-0', group: 1, entries: ['line 1', 'line 2'] });
  await yesterday.committed();
  yesterday.send({ command: 'TERMINATE' });
  await yesterday.messages('LOG_WORKER_TERMINATED');

  const asked: string[] = [];
  const page = new FakePage(world);
  page.token = ({ meetingId }, reason) => {
    asked.push(`${reason} ${meetingId}`);
    return null;
  };
  await page.start(AUTO);
  await page.messages('TOKEN_NEEDED', 2);
  await page.committed();
  assert.deepEqual(asked.sort(), ['start m-0', 'start m-1']);
  assert.equal(world.requests.length, 0);
  const scope = JSON.stringify([ENDPOINT, 'm-0', 'a-1']);
  assert.equal((await world.service.spool.usage(scope)).entries, 2);

  await world.clock.advance(8 * DAY);
  const { entries, dropped } = await world.service.spool.usage(scope);
  assert.deepEqual([entries, dropped], [0, { age: 2 }]);
});

test('15 over the limit the newest lines stay, and the next file says how many were dropped', async () => {
  const world = new FakeWorld();
  const page = await FakePage.open(world, { maxEntries: 500 });
  for (let n = 0; n < 2_000; n += 100) {
    page.log(...Array.from({ length: 100 }, (_, at) => `line ${n + at}`));
    await page.committed();
  }
  page.send({ command: 'UPLOAD_LOGS', request: 1 });
  const [done] = await page.messages('LOG_UPLOAD_COMPLETE');
  const { uploaded, dropped } = done as unknown as { uploaded: number; dropped: number };
  assert.ok(uploaded >= 400 && uploaded <= 500, `${uploaded}`);
  assert.equal(uploaded + dropped, 2_000);
  const numbers = world.lines.filter((line) => line.startsWith('line ')).map((line) => Number(line.slice(5)));
  assert.deepEqual(
    numbers,
    Array.from({ length: uploaded }, (_, at) => 2_000 - uploaded + at),
  );
  assert.ok(world.lines.at(-1)?.includes(`logferry: dropped ${dropped} entries (limit)`), world.lines.at(-1));
});

test('16 while the database fails lines wait in memory, and return to it later', async () => {
  const world = new FakeWorld();
  const page = await FakePage.open(world);
  page.log('line 1');
  await page.committed();
  world.primary.broken = Object.assign(new Error('full'), { name: 'QuotaExceededError' });
  page.log('line 2');
  await page.committed();
  assert.equal(world.service.spool.storage, 'memory');
  world.primary.broken = null;
  await world.clock.advance(MINUTE);
  page.log('line 3');
  await page.committed();
  assert.equal(world.service.spool.storage, 'indexeddb');
  assert.equal(world.service.spool.memory.isEmpty, true);
  page.send({ command: 'UPLOAD_LOGS', request: 1 });
  await page.messages('LOG_UPLOAD_COMPLETE');
  assert.deepEqual(world.lines.sort(), ['line 1', 'line 2', 'line 3']);
});

test('a refused file is kept and does not keep later lines back, and a new token sends it', async () => {
  const world = new FakeWorld();
  const page = await FakePage.open(world);
  world.answer = (request) => (request.method === 'POST' ? refused(403) : null);
  page.log('line 1');
  page.send({ command: 'UPLOAD_LOGS', request: 1 });
  const [failed] = await page.messages('LOG_UPLOAD_FAILED');
  assert.equal(failed?.code, 'REFUSED');
  world.answer = () => null;
  page.log('line 2');
  page.send({ command: 'UPLOAD_LOGS', request: 2 });
  await page.messages('LOG_UPLOAD_COMPLETE');
  assert.deepEqual(world.lines, ['line 2']);
  world.answer = (request) => (request.method === 'POST' ? refused(403) : null);
  page.log('line 3');
  page.send({ command: 'UPLOAD_LOGS', request: 3 });
  await page.messages('LOG_UPLOAD_FAILED', 2);
  world.answer = () => null;
  page.send({ command: 'TOKEN', joinToken: 'another' });
  await page.committed();
  await page.committed();
  assert.deepEqual(world.lines.sort(), ['line 1', 'line 2', 'line 3']);
});

test('groups that were stored already are skipped, whichever page posts them', async () => {
  const world = new FakeWorld();
  const page = await FakePage.open(world);
  page.log('line 1');
  page.log('line 2');
  await page.committed();
  const other = await FakePage.open(world, { tab: 'tab-2' });
  const scope = JSON.stringify([ENDPOINT, 'm-1', 'a-1']);
  for (const group of [1, 2, 3]) {
    const entries = [`line ${group}`];
    other.send({ command: 'PUT_LOGS', tab: 'tab-1', group, entries, scope, format: 'text', again: true });
  }
  await other.committed();
  page.send({ command: 'UPLOAD_LOGS', request: 1 });
  await page.messages('LOG_UPLOAD_COMPLETE');
  assert.deepEqual(world.lines, ['line 1', 'line 2', 'line 3']);
});

test('a PUT without an answer is not sent under another key before a minute has passed', async () => {
  const world = new FakeWorld();
  const page = await FakePage.open(world, AUTO);
  world.answer = (request) => (request.method === 'PUT' ? 'offline' : null);
  page.log('line 1');
  page.send({ command: 'UPLOAD_LOGS', request: 1 });
  await page.committed();
  await world.clock.advance(299_000);
  assert.equal(world.count('POST'), 1);
  const last = world.requests.filter(({ method }) => method === 'PUT').at(-1)?.at ?? 0;
  world.answer = () => null;
  await world.clock.advance(400_000);
  const [, second] = world.requests.filter(({ method }) => method === 'POST');
  assert.ok((second?.at ?? 0) - last >= MINUTE, `${(second?.at ?? 0) - last} ms`);
  assert.deepEqual(world.lines, ['line 1']);
});
