import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Client, type Params, Problem } from '../../src/api.ts';
import { fetchAll, MAX_RECORDS, row } from '../../src/logs/export.ts';
import type { LogRecord, Page } from '../../src/types.ts';

const record = (more: Partial<LogRecord> = {}): LogRecord => ({
  id: 'r1',
  timestamp: '2026-01-01T00:00:00.000Z',
  level: 'INFO',
  message: 'hello',
  ...more,
});

class Fake extends Client {
  private readonly answer: (params: Params) => Page<LogRecord>;
  constructor(answer: (params: Params) => Page<LogRecord>) {
    super(new URL('http://x/v1/'), { kind: 'app', secret: 'k', until: 0 });
    this.answer = answer;
  }
  override async list<T>(_: string, params: Params = {}): Promise<Page<T>> {
    return this.answer(params) as unknown as Page<T>;
  }
}

test('a row of CSV quotes what must be quoted, and no cell is a formula', () => {
  assert.equal(row(record()), '2026-01-01T00:00:00.000Z,INFO,,hello,,,r1\r\n');
  assert.equal(
    row(record({ message: 'a "b", c\nd', context: { x: 1 } })),
    '2026-01-01T00:00:00.000Z,INFO,,"a ""b"", c\nd",,"{""x"":1}",r1\r\n',
  );
  for (const formula of ['=1+1', '+1', '-1', '@x'])
    assert.ok(row(record({ message: formula })).includes(`,'${formula},`));
});

test('pages are read to the end, and a pause that the API asks for is kept', async () => {
  const asked: Params[] = [];
  let refusals = 1;
  const client = new Fake((params) => {
    asked.push(params);
    if (asked.length === 2 && refusals-- > 0)
      throw new Problem(429, 'RATE_LIMITED', 'slow', { retryAfterSecs: 0.01 });
    return {
      data: [record({ id: `r${asked.length}` })],
      cursor: asked.length < 4 ? `c${asked.length}` : null,
      skipped: 2,
    };
  });
  const seen: number[] = [];
  const found = await fetchAll(
    client,
    { level: 'INFO' },
    'ndjson',
    (n) => seen.push(n),
    new AbortController().signal,
  );
  assert.deepEqual([found.complete, found.skipped], [true, 6]);
  assert.deepEqual(seen, [1, 2, 3]);
  assert.deepEqual(
    found.parts
      .join('')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).id),
    ['r1', 'r3', 'r4'],
  );
  assert.equal(asked[1]?.cursor, 'c1');
});

test('a download ends at its limit', async () => {
  const data = Array.from({ length: 1_000 }, () => record());
  const client = new Fake(() => ({ data, cursor: 'more' }));
  let last = 0;
  const found = await fetchAll(client, {}, 'csv', (n) => (last = n), new AbortController().signal);
  assert.deepEqual([found.complete, last], [false, MAX_RECORDS]);
});
