import assert from 'node:assert/strict';
import test from 'node:test';
import { leases } from '../../src/host/locks.ts';
import { ENDPOINT, FakePage, FakePrimary, FakeWorld } from '../support/fake-service.ts';

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

/** A database that takes nothing more; what it has can be read and removed. */
class FullPrimary extends FakePrimary {
  full = false;
  override async append(...args: Parameters<FakePrimary['append']>): Promise<void> {
    return this.#room() ?? super.append(...args);
  }
  override async seal(...args: Parameters<FakePrimary['seal']>): Promise<boolean> {
    return this.#room() ?? super.seal(...args);
  }
  override async update(...args: Parameters<FakePrimary['update']>): ReturnType<FakePrimary['update']> {
    return this.#room() ?? super.update(...args);
  }
  override async adopt(...args: Parameters<FakePrimary['adopt']>): Promise<void> {
    return this.#room() ?? super.adopt(...args);
  }
  #room(): null {
    if (this.full) throw Object.assign(new Error('full'), { name: 'QuotaExceededError' });
    return null;
  }
}

test('16 with a file in a full database the lines in memory are sent, and no URL is wasted', async () => {
  const primary = new FullPrimary();
  const world = new FakeWorld(primary);
  const page = await FakePage.open(world, AUTO);
  world.answer = () => 'offline';
  page.log('line 1');
  await page.committed();
  page.send({ command: 'UPLOAD_LOGS', request: 1, timeoutMs: 1_000 });
  await world.clock.advance(2_000);
  primary.full = true;
  page.log('line 2');
  await page.committed();
  world.answer = () => null;
  world.requests.length = 0;
  page.send({ command: 'NETWORK', online: true });
  await world.clock.advance(10 * MINUTE);
  assert.deepEqual([world.lines, world.count('POST')], [['line 2'], 1]);
  primary.full = false;
  page.send({ command: 'UPLOAD_LOGS', request: 2 });
  await page.messages('LOG_UPLOAD_COMPLETE');
  assert.deepEqual(world.lines, ['line 2', 'line 1']);
});

test('16 without Web Locks lines are sent from memory while the database fails', async () => {
  const world = new FakeWorld();
  const failing = () => Promise.reject(new Error('no database'));
  world.primary.broken = new Error('no database');
  const exclusive = leases({ takeLease: failing, releaseLease: failing }, 'me', world.clock);
  world.exclusive = (f) => exclusive('lock', f);
  const page = await FakePage.open(world, AUTO);
  page.log('line 1');
  page.send({ command: 'UPLOAD_LOGS', request: 1 });
  await page.messages('LOG_UPLOAD_COMPLETE');
  assert.deepEqual(world.lines, ['line 1']);
});

test('an answer without a URL is asked for again', async () => {
  const world = new FakeWorld();
  const page = await FakePage.open(world, AUTO);
  let answers = 0;
  world.answer = ({ method }) => {
    if (method === 'POST') answers += 1;
    return method === 'POST' && answers === 1
      ? { status: 200, retryAfterMs: undefined, text: '<html>' }
      : null;
  };
  page.log('line 1');
  page.send({ command: 'UPLOAD_LOGS', request: 1 });
  await page.committed();
  await world.clock.advance(MINUTE);
  assert.deepEqual(world.lines, ['line 1']);
});

test('one question without an answer does not end a flush that waits for the ingestion', async () => {
  const world = new FakeWorld();
  const page = await FakePage.open(world);
  let questions = 0;
  world.answer = ({ method }) => {
    if (method === 'GET') questions += 1;
    return method === 'GET' && questions === 1 ? 'offline' : null;
  };
  page.log('line 1');
  page.send({ command: 'UPLOAD_LOGS', request: 1, until: 'ingested' });
  await page.committed();
  await world.clock.advance(MINUTE);
  const [done] = await page.messages('LOG_UPLOAD_COMPLETE');
  assert.equal(done?.files[0].status, 'COMPLETED');
});

test('after the last page has ended nothing is tried any more', async () => {
  const world = new FakeWorld();
  const page = await FakePage.open(world, AUTO);
  world.answer = () => 'offline';
  page.log('line 1');
  await page.committed();
  page.send({ command: 'PAGE', state: 'hidden' });
  await page.committed();
  page.log('line 2');
  page.send({ command: 'TERMINATE' });
  await page.messages('LOG_WORKER_TERMINATED');
  world.requests.length = 0;
  await world.clock.advance(60 * MINUTE);
  assert.equal(world.requests.length, 0);
});

test('28 a token that comes late is used for its own meeting only', async () => {
  const world = new FakeWorld();
  const yesterday = await FakePage.open(world, { meetingId: 'm-0', tab: 'tab-0' });
  yesterday.send({ command: 'PUT_LOGS', tab: 'tab-0', group: 1, entries: ['line 0'] });
  await yesterday.committed();
  yesterday.send({ command: 'TERMINATE' });
  await yesterday.messages('LOG_WORKER_TERMINATED');
  world.answer = ({ method, body, headers }) => {
    const own = `Bearer token of ${method === 'POST' ? JSON.parse(String(body)).meetingId : ''}`;
    return method === 'POST' && headers?.Authorization !== own ? refused(403) : null;
  };
  const page = new FakePage(world);
  // The page answers for yesterday's meeting after it was given up.
  page.token = (scope) => {
    const joinToken = `token of ${scope.meetingId}`;
    if (scope.meetingId === 'm-1') return joinToken;
    world.clock.after(11_000, () => page.send({ command: 'TOKEN', scope: { ...scope }, joinToken }));
    return undefined;
  };
  await page.start(AUTO);
  await world.clock.advance(40_000);
  page.log('line 1');
  page.send({ command: 'UPLOAD_LOGS', request: 1 });
  await page.messages('LOG_UPLOAD_COMPLETE');
  await world.clock.advance(10 * MINUTE);
  assert.deepEqual(world.lines.sort(), ['line 0', 'line 1']);
});

test('pages that were left, or do not answer, are not asked for tokens before those that are open', async () => {
  const world = new FakeWorld();
  for (const last of [['leaving', 'hidden'], ['leaving'], []]) {
    const gone = new FakePage(world);
    gone.token = () => undefined;
    const tab = `tab-${last.length + 2}`;
    await gone.start({ ...AUTO, tab });
    for (const state of last) gone.send({ command: 'PAGE', state });
    gone.send({ command: 'PUT_LOGS', tab, group: 1, entries: ['line 0'] });
    await world.clock.advance(11_000);
  }
  const page = await FakePage.open(world);
  page.log('line 1');
  page.send({ command: 'UPLOAD_LOGS', request: 1 });
  await page.committed();
  await page.messages('LOG_UPLOAD_COMPLETE');
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
  // Not every line is in S3.
  const [, still] = await page.messages('LOG_UPLOAD_FAILED', 2);
  assert.equal(still?.code, 'REFUSED');
  assert.deepEqual(world.lines, ['line 2']);
  world.answer = (request) => (request.method === 'POST' ? refused(403) : null);
  page.log('line 3');
  page.send({ command: 'UPLOAD_LOGS', request: 3 });
  await page.messages('LOG_UPLOAD_FAILED', 3);
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
