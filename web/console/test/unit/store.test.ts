import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Client, type Params, Problem } from '../../src/api.ts';
import { merged, type Row, Store } from '../../src/logs/store.ts';
import { countEvery, startTail } from '../../src/logs/tail.ts';
import type { LogRecord, Page } from '../../src/types.ts';

const T0 = Date.parse('2026-01-01T00:00:00Z');
const record = (n: number): LogRecord => ({
  id: `r${n}`,
  timestamp: new Date(T0 + n * 1_000).toISOString(),
  level: 'INFO',
  message: `${n}`,
});

/** A client whose answers are computed from the parameters. */
class Fake extends Client {
  readonly asked: Params[] = [];
  private readonly answer: (params: Params) => Page<LogRecord>;
  constructor(answer: (params: Params) => Page<LogRecord>) {
    super(new URL('http://x/v1/'), { kind: 'app', secret: 'k', until: 0 });
    this.answer = answer;
  }
  override async list<T>(_: string, params: Params = {}): Promise<Page<T>> {
    this.asked.push(params);
    return this.answer(params) as unknown as Page<T>;
  }
}

const shown = (store: Store) =>
  store.state.rows.map((row) => `${row.record.id}${row.late ? '!' : ''}`).join(' ');

test('pages follow the cursor, empty ones are skipped, and a record is shown once', async () => {
  const pages: Record<string, Page<LogRecord>> = {
    '': { data: [record(9), record(8)], cursor: 'a', skipped: 1 },
    a: { data: [], cursor: 'b' },
    b: { data: [record(8), record(7)], cursor: null, skipped: 2 },
  };
  const client = new Fake(({ cursor }) => pages[String(cursor ?? '')] as Page<LogRecord>);
  const store = new Store(client, {}, () => {});
  await store.older(1);
  assert.equal(shown(store), 'r9 r8');
  assert.deepEqual([store.state.complete, store.state.loading], [false, false]);
  await store.older(2);
  assert.equal(shown(store), 'r9 r8 r7');
  assert.deepEqual([store.state.complete, store.state.skipped], [true, 3]);
  await store.older(3);
  assert.equal(client.asked.length, 3);
});

test('the live tail puts late records in their place and marks them', async () => {
  let data = [record(20), record(10)];
  const client = new Fake(() => ({ data, cursor: null }));
  const store = new Store(client, {}, () => {});
  await store.older(1);
  data = [record(30), record(20), record(15), record(10)];
  assert.equal(await store.tail(), 2);
  assert.equal(shown(store), 'r30 r20 r15! r10');
  assert.equal(await store.tail(), 0);
  assert.equal(client.asked.at(-1)?.since, new Date(T0 + 30_000 - 300_000).toISOString());
});

test('the live tail of one app follows the order of arrival', async () => {
  let page: Page<LogRecord> = { data: [record(20), record(10)], cursor: null };
  const client = new Fake(() => page);
  const store = new Store(client, { app_id: 'shop' }, () => {});
  await store.older(T0);
  page = { data: [record(20), record(30), record(15)], cursor: 'c1', more: false };
  assert.equal(await store.tail(), 2);
  page = { data: [record(5), record(31)], cursor: 'c2', more: false };
  assert.equal(await store.tail(), 2);
  assert.equal(shown(store), 'r31 r30 r20 r15! r10 r5!');
  const begin = new Date(T0 - 300_000).toISOString();
  assert.deepEqual([client.asked.at(-2)?.after, client.asked.at(-1)?.after], [begin, 'c1']);
  assert.equal(store.state.missed, false);
});

test('a look reads what has arrived already page by page, and after a failure the next one continues', async () => {
  const answers: (Page<LogRecord> | Error)[] = [
    { data: [record(1)], cursor: null },
    { data: [record(2)], cursor: 'c1', more: true },
    { data: [], cursor: 'c2', more: true },
    new Problem(503, 'SLOW_DOWN', 'try again'),
    { data: [record(3)], cursor: 'c3', more: false },
  ];
  const client = new Fake(() => {
    const answer = answers.shift();
    if (!answer || answer instanceof Error) throw answer;
    return answer;
  });
  const store = new Store(client, { app_id: 'shop' }, () => {});
  await store.older(T0);
  await store.tail();
  assert.equal(store.state.problem?.message, 'try again');
  assert.equal(shown(store), 'r2 r1');
  await store.tail();
  assert.equal(client.asked.at(-1)?.after, 'c2');
  assert.equal(shown(store), 'r3 r2 r1');
  assert.equal(store.state.problem, undefined);
});

test('a record that arrives below the loaded pages comes with its page, once', async () => {
  let page: Page<LogRecord> = { data: [record(20), record(10)], cursor: 'older' };
  const store = new Store(new Fake(() => page), { app_id: 'shop' }, () => {});
  await store.older(T0);
  page = { data: [record(5), record(12)], cursor: 'c1', more: false };
  assert.equal(await store.tail(), 1);
  page = { data: [record(7), record(5)], cursor: null };
  await store.older(T0);
  assert.equal(shown(store), 'r20 r12! r10 r7 r5');
});

test('a tail that finds more than it reads says so', async () => {
  let page: Page<LogRecord> = { data: [record(1)], cursor: null };
  const store = new Store(new Fake(() => page), {}, () => {});
  await store.older(1);
  page = { data: [record(9), record(8)], cursor: 'more' };
  await store.tail();
  assert.equal(store.state.missed, true);
});

test('the tail keeps 5,000 rows, and older ones are then asked for by time', async () => {
  let data = Array.from({ length: 4_990 }, (_, n) => record(4_990 - n));
  const client = new Fake(() => ({ data, cursor: 'c' }));
  const store = new Store(client, {}, () => {});
  await store.older(1);
  data = Array.from({ length: 30 }, (_, n) => record(5_100 - n));
  await store.tail();
  assert.equal(store.state.rows.length, 5_000);
  assert.equal(store.state.complete, false);
  const before = client.asked.length;
  await store.older(2);
  const next = client.asked[before];
  assert.deepEqual([next?.cursor, next?.until], [undefined, new Date(T0 + 21_001).toISOString()]);
});

test('two lists are merged by time, newest first', () => {
  const rows = (...ns: number[]): Row[] => ns.map((n) => ({ record: record(n), ms: n, late: false }));
  const ids = (all: readonly Row[]) => all.map((row) => row.ms);
  assert.deepEqual(ids(merged(rows(5, 3, 1), rows(6, 4, 0))), [6, 5, 4, 3, 1, 0]);
  assert.deepEqual(ids(merged([], rows(2, 1))), [2, 1]);
  assert.deepEqual(ids(merged(rows(2, 1), [])), [2, 1]);
  assert.deepEqual(ids(merged(rows(1), rows(3, 2))), [3, 2, 1]);
});

test('the tail looks less often when nothing comes, not while hidden, and ends after half an hour', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  let now = 0;
  let looks = 0;
  let hidden = false;
  let ended = false;
  const tail = startTail({
    look: async () => {
      looks++;
      return 0;
    },
    hidden: () => hidden,
    now: () => now,
    expired: () => {
      ended = true;
    },
  });
  const pass = async (ms: number) => {
    for (let left = ms; left > 0; left -= 1_000) {
      now += 1_000;
      t.mock.timers.tick(1_000);
      for (let n = 0; n < 5; n++) await Promise.resolve();
    }
  };
  await pass(60_000);
  assert.ok(looks >= 29 && looks <= 32, `${looks} looks in a minute`);
  const before = looks;
  await pass(60_000);
  assert.ok(looks - before >= 5 && looks - before <= 7, `${looks - before} looks in a quiet minute`);
  hidden = true;
  const seen = looks;
  await pass(120_000);
  assert.equal(looks, seen);
  hidden = false;
  await pass(30 * 60_000);
  assert.ok(ended);
  const last = looks;
  await pass(60_000);
  assert.equal(looks, last);
  tail.stop();
});

test('beside the live tail a short range is counted every 30 seconds, and a day every five minutes', () => {
  assert.equal(countEvery({ last: '15m' }), 30_000);
  assert.equal(countEvery({ last: '24h' }), 300_000);
  assert.equal(countEvery({ last: '30d' }), 1_800_000);
});
