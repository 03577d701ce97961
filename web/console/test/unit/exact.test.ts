import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Client } from '../../src/api.ts';
import { Exact, parse, write } from '../../src/exact.ts';
import { fetchAll, row } from '../../src/logs/export.ts';
import type { Json, LogRecord } from '../../src/types.ts';

test('a text of JSON is written as it was read', () => {
  for (const text of [
    '9007199254740993',
    '-1234567890123456789',
    '[1.10,1.0,1e3,1E+3,-0,0.1,-5,18446744073709551615,null,true]',
    '{"1":1.50,"__proto__":2.0,"n":{"m":[{"k":1e400}]}}',
    '"1.10"',
    '{"a \\" 1.10":"\\\\","b":"\\\\\\" 9007199254740993 \\n","c":9007199254740993}',
  ]) {
    assert.equal(write(parse(text) as Json), text);
  }
});

test('numbers that survive are numbers, and texts are texts whatever they contain', () => {
  assert.deepEqual(parse('[1,-2.5,9007199254740991,"9007199254740993"]'), [
    1,
    -2.5,
    9_007_199_254_740_991,
    '9007199254740993',
  ]);
  assert.deepEqual(parse('{"n":1.10}'), { n: new Exact('1.10') });
  assert.throws(() => parse('{"n":1.10'));
});

test('a long text is read whatever it contains', () => {
  for (const part of ['x', '\n', '"', '\\', '7 ']) {
    const text = `{"s":${JSON.stringify(part.repeat(1_000_000))},"n":1.10}`;
    assert.equal(write(parse(text) as Json), text);
  }
});

const RECORD =
  '{"id":"r1","timestamp":"2026-01-01T00:00:00.000Z","level":"INFO","message":"m","context":{"id":9007199254740993,"price":1.10}}';

test('records from the API keep the digits of their numbers in a download, and other answers have numbers', async (t) => {
  const answers: Record<string, string> = {
    '/v1/logs': `{"ok":true,"data":[${RECORD}],"cursor":null,"skipped":0}`,
    '/v1/health/shop/uptime': '{"ok":true,"data":[{"uptime":1.0}]}',
  };
  t.mock.method(globalThis, 'fetch', async (url: URL) => new Response(answers[url.pathname]));
  const client = new Client(new URL('http://x/v1/'), { kind: 'app', secret: 'k', until: 0 });
  const found = await fetchAll(client, {}, 'ndjson', () => {}, new AbortController().signal);
  assert.deepEqual(found.parts, [`${RECORD}\n`]);
  const { data } = await client.list<LogRecord>('logs');
  assert.match(row(data[0] as LogRecord), /"\{""id"":9007199254740993,""price"":1\.10\}"/);
  assert.deepEqual(await client.get('health/shop/uptime'), [{ uptime: 1 }]);
});
