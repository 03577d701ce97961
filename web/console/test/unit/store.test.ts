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

type Answer = Page<LogRecord> | Promise<Page<LogRecord>>;

/** A client whose answers are computed from the parameters. */
class Fake extends Client {
  readonly asked: Params[] = [];
  private readonly answer: (params: Params) => Answer;
  constructor(answer: (params: Params) => Answer) {
    super(new URL('http://x/v1/'), { kind: 'app', secret: 'k', until: 0 });
    this.answer = answer;
  }
  override async list<T>(_: string, params: Params = {}): Promise<Page<T>> {
    this.asked.push(params);
    return (await this.answer(params)) as unknown as Page<T>;
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

test('after a page that fails, the end of the list asks for nothing until a retry', async () => {
  let down = true;
  const client = new Fake(({ cursor }) => {
    if (cursor === undefined) return { data: [record(9)], cursor: 'a' };
    if (down) throw new Problem(429, 'RATE_LIMITED', 'slow down');
    return { data: [record(8)], cursor: null };
  });
  const store = new Store(client, {}, () => {});
  await store.older(1);
  for (let n = 0; n < 5; n++) await store.nearEnd(2);
  assert.equal(client.asked.length, 2);
  assert.deepEqual([store.state.problem?.message, store.state.loading], ['slow down', false]);
  down = false;
  await store.older(3);
  assert.deepEqual([shown(store), store.state.problem], ['r9 r8', undefined]);
});

test('after fifty empty pages, older records are searched only when they are asked for', async () => {
  const client = new Fake(({ cursor }) => {
    const page = Number(cursor ?? 0);
    return { data: page === 0 ? [record(9)] : [], cursor: page < 60 ? String(page + 1) : null };
  });
  const store = new Store(client, {}, () => {});
  await store.older(1);
  assert.equal(store.state.paused, false);
  for (let n = 0; n < 5; n++) await store.nearEnd(2);
  assert.equal(client.asked.length, 51);
  assert.deepEqual([store.state.paused, store.state.loading, store.state.complete], [true, false, false]);
  await store.older(3);
  assert.deepEqual([client.asked.length, store.state.paused, store.state.complete], [61, false, true]);
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

/** A page of records in the order of their arrival. */
const arrived = (numbers: number[], cursor: string, more = false): Page<LogRecord> => ({
  data: numbers.map(record),
  cursor,
  more,
});
/** As many records as a look asks for at once. */
const fullPage = (first: number) => Array.from({ length: 500 }, (_, n) => first + n);

/** A client whose list has these records, and whose tail gives these pages one after another. */
function tailed(list: number[], pages: (Page<LogRecord> | Error)[]): { client: Fake; listed: number[] } {
  const found = { listed: list };
  const client = new Fake(({ after }) => {
    if (after === 'now') return arrived([], 'present');
    if (after === undefined) return { data: found.listed.map(record), cursor: null };
    const page = pages.shift();
    if (!page || page instanceof Error) throw page;
    return page;
  });
  return Object.assign(found, { client });
}

test('the live tail of one app follows the order of arrival from before its list', async () => {
  const { client } = tailed([20, 10], [arrived([20, 30, 15], 'c1'), arrived([5, 31], 'c2')]);
  const store = new Store(client, { app_id: 'shop' }, () => {}, true);
  await store.older(T0);
  assert.equal(await store.tail(), 2);
  assert.equal(await store.tail(), 2);
  assert.equal(shown(store), 'r31 r30 r20 r15! r10 r5!');
  assert.deepEqual(
    client.asked.map(({ after }) => after),
    ['now', undefined, 'present', 'c1'],
  );
  assert.equal(store.state.missed, false);
});

test('a look reads full pages until the end, and after a failure the next one continues', async () => {
  const { client } = tailed(
    [1],
    [
      arrived(fullPage(2), 'c1', true),
      new Problem(503, 'SLOW_DOWN', 'try again'),
      arrived([502], 'c2', false),
    ],
  );
  const store = new Store(client, { app_id: 'shop' }, () => {}, true);
  await store.older(T0);
  await store.tail();
  assert.equal(store.state.tailProblem?.message, 'try again');
  assert.equal(store.state.rows.length, 501);
  await store.tail();
  assert.equal(client.asked.at(-1)?.after, 'c1');
  assert.deepEqual([store.state.rows[0]?.record.id, store.state.rows.length], ['r502', 502]);
  assert.deepEqual([store.state.tailProblem, store.state.missed], [undefined, false]);
});

test('a look that more has arrived than it reads skips to the newest records and says so', async () => {
  const backlog = [2, 502, 1_002, 1_502].map((first, n) => arrived(fullPage(first), `c${n}`, true));
  const found = tailed([1], [...backlog, arrived([9_001], 'next')]);
  const store = new Store(found.client, { app_id: 'shop' }, () => {}, true);
  await store.older(T0);
  found.listed = [9_000, 8_999];
  assert.equal(await store.tail(), 2_002);
  assert.equal(store.state.rows[0]?.record.id, 'r9000');
  assert.equal(store.state.missed, true);
  assert.equal(await store.tail(), 1);
  assert.equal(store.state.rows[0]?.record.id, 'r9001');
  assert.deepEqual(
    found.client.asked.slice(2).map(({ after }) => after),
    ['present', 'c0', 'c1', 'c2', 'now', undefined, 'present'],
  );
  assert.equal(new Set(store.state.rows.map((row) => row.record.id)).size, store.state.rows.length);
});

test('a look skips at once when a query cannot read the backlog within its limits', async () => {
  const found = tailed([1], [arrived([2], 'c1', true)]);
  const store = new Store(found.client, { app_id: 'shop' }, () => {}, true);
  await store.older(T0);
  found.listed = [90];
  assert.equal(await store.tail(), 2);
  assert.deepEqual([shown(store), store.state.missed], ['r90 r2 r1', true]);
});

test('when the newest records cannot be read, the next look skips again', async () => {
  let down = false;
  const client = new Fake(({ after }) => {
    if (after === 'now') return arrived([], 'present');
    if (after !== undefined) return arrived([], `after ${after}`, true);
    if (down) throw new Problem(503, 'SLOW_DOWN', 'try again');
    return { data: [record(1)], cursor: null };
  });
  const store = new Store(client, { app_id: 'shop' }, () => {}, true);
  await store.older(T0);
  down = true;
  await store.tail();
  down = false;
  await store.tail();
  const asked = client.asked.map(({ after }) => after);
  assert.deepEqual(asked.slice(2), ['present', 'now', undefined, 'after present', 'now', undefined]);
});

test('a tail of a list that was loaded without one begins with the newest records', async () => {
  const found = tailed([1], [arrived([3], 'c1')]);
  const store = new Store(found.client, { app_id: 'shop' }, () => {});
  await store.older(T0);
  found.listed = [2, 1];
  assert.equal(await store.tail(), 1);
  assert.equal(await store.tail(), 1);
  assert.deepEqual([shown(store), store.state.missed], ['r3 r2 r1', false]);
});

test('a record that arrives below the loaded pages comes with its page, once', async () => {
  let page: Page<LogRecord> = { data: [record(20), record(10)], cursor: 'older' };
  for (const params of [{ app_id: 'shop' }, {}]) {
    page = { data: [record(20), record(10)], cursor: 'older' };
    const store = new Store(new Fake(() => page), params, () => {}, true);
    await store.older(T0);
    page = { data: [record(5), record(12)], cursor: 'c1', more: false };
    assert.equal(await store.tail(), 1);
    page = { data: [record(7), record(5)], cursor: null };
    await store.older(T0);
    assert.equal(shown(store), 'r20 r12! r10 r7 r5');
  }
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

test('a page that was on its way while rows were dropped leaves no gap', async () => {
  const down = (from: number, to: number) =>
    Array.from({ length: from - to + 1 }, (_, n) => record(from - n));
  let arrive = (_: Page<LogRecord>) => {};
  const client = new Fake(({ since, until, cursor }) => {
    if (since !== undefined) return { data: down(6_030, 6_001), cursor: null };
    if (until !== undefined) return { data: down(1_031, 1_001), cursor: null };
    if (cursor === undefined) return { data: down(6_000, 1_011), cursor: 'a' };
    return new Promise((done) => {
      arrive = done;
    });
  });
  const store = new Store(client, {}, () => {});
  await store.older(1);
  const older = store.older(2);
  await store.tail();
  assert.equal(store.state.rows.length, 5_000);
  arrive({ data: down(1_010, 1_001), cursor: null });
  await older;
  assert.deepEqual(
    store.state.rows.map((row) => row.record.id),
    down(6_030, 1_001).map(({ id }) => id),
  );
  assert.equal(store.state.complete, true);
});

test('a look that fails and one that succeeds leave the page of older records alone', async () => {
  let down = true;
  let fail = (_: Problem) => {};
  const client = new Fake(({ since, cursor }) => {
    if (cursor !== undefined) {
      return new Promise((_, failed) => {
        fail = failed;
      });
    }
    if (since !== undefined && down) throw new Problem(503, 'SLOW_DOWN', 'the look failed');
    return { data: [record(2)], cursor: since === undefined ? 'a' : null };
  });
  const store = new Store(client, {}, () => {});
  await store.older(1);
  const older = store.older(2);
  await store.tail();
  assert.deepEqual([store.state.loading, store.state.tailProblem?.message], [true, 'the look failed']);
  fail(new Problem(500, 'INTERNAL', 'the page failed'));
  await older;
  down = false;
  await store.tail();
  assert.deepEqual([store.state.problem?.message, store.state.tailProblem], ['the page failed', undefined]);
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
