import assert from 'node:assert/strict';
import test from 'node:test';
import { type Entry, line, messageOf } from '../../src/logs/format.ts';

const TIME = Date.parse('2026-02-03T04:05:06.789Z');
const MAX = 256 * 1024;

const json = (entry: Partial<Entry>) =>
  JSON.parse(line({ time: TIME, level: 'INFO', message: 'hello', ...entry }, 'ndjson', MAX, null));

test('a line of JSON holds time, level, message, context, request and place in its session', () => {
  const entry = { context: { request_id: 'r-1', n: 1 }, sessionId: 'abc', seq: 7 };
  assert.deepEqual(json(entry), {
    time: TIME,
    level: 'info',
    msg: 'hello',
    context: { request_id: 'r-1', n: 1 },
    request_id: 'r-1',
    sessionId: 'abc',
    seq: 7,
  });
});

test("a line of text is the original's", () => {
  const text = line({ time: TIME, level: 'WARN', message: 'hello' }, 'text', MAX, null);
  assert.equal(text, '2026-02-03T04:05:06.789Z [WARN] hello');
});

test('20 a message cannot forge a record in either format', () => {
  const message = 'real\n2024-01-01T00:00:00.000Z [ERROR] forged';
  const text = line({ time: TIME, level: 'INFO', message }, 'text', MAX, null);
  assert.equal(text, '2026-02-03T04:05:06.789Z [INFO] real\n  2024-01-01T00:00:00.000Z [ERROR] forged');
  assert.equal(line({ time: TIME, level: 'INFO', message }, 'ndjson', MAX, null).includes('\n'), false);
});

test('20 no line of a message begins another record of text', () => {
  for (const forged of [
    '{"level":"error"}',
    '2024-01-01 10:00:00,123 ERROR forged',
    'ERROR forged',
    '\n{}',
  ]) {
    const text = line({ time: TIME, level: 'INFO', message: `real\n${forged}` }, 'text', MAX, null);
    const [, ...rest] = text.split('\n');
    assert.ok(rest.length && rest.every((each) => each.startsWith('  ')), text);
  }
});

test('an error whose stack has frames alone keeps its message, and what caused it is named', () => {
  const error = new Error('declined', { cause: new TypeError('no funds') });
  error.stack = 'pay@https://shop.test/app.js:10:5\n@https://shop.test/app.js:20:1\n';
  assert.match(
    messageOf(error, null),
    /^Error: declined\npay@.*:10:5\n@.*:20:1\nCaused by: TypeError: no funds\n {4}at /,
  );
  const own = new Error('own');
  own.stack = 'own@https://shop.test/app.js:1:1';
  own.cause = own;
  assert.equal(messageOf(own, null).match(/Error: own\n/g)?.length, 5);
});

test('21 of a huge value not more is read than an entry has room for', () => {
  let reads = 0;
  const huge = new Proxy(new Array(1_000_000).fill(1), {
    get(target, name) {
      reads += 1;
      return Reflect.get(target, name);
    },
  });
  json({ context: { huge } });
  assert.ok(reads < 200_000, `${reads} reads`);
  assert.deepEqual(json({ context: { samples: new Float32Array(480_000) } }).context, {
    samples: '[Float32Array 1920000]',
  });
});

test('21 nothing that an application logs throws', () => {
  const circular: Record<string, unknown> = { name: 'loop', big: 10n };
  circular.self = circular;
  const hostile = {
    get broken() {
      throw new Error('no');
    },
    toJSON() {
      throw new Error('no');
    },
    f: function named() {},
    s: Symbol('s'),
    when: new Date(Number.NaN),
  };
  assert.deepEqual(json({ context: { circular } }).context, {
    circular: { name: 'loop', big: '10', self: '[circular]' },
  });
  const { context } = json({ context: { hostile } });
  assert.deepEqual(
    [context.hostile.broken, context.hostile.f, context.hostile.s],
    ['[unreadable]', '[function named]', 'Symbol(s)'],
  );
  const error = new Error('outer', { cause: new TypeError('inner') });
  const logged = json({ context: { error } }).context.error;
  assert.deepEqual([logged.name, logged.message, logged.cause.name], ['Error', 'outer', 'TypeError']);
  assert.match(messageOf(error, null), /^Error: outer\n/);
  assert.equal(messageOf(undefined, null), 'undefined');
  const deep = JSON.parse(`${'{"a":'.repeat(500)}1${'}'.repeat(500)}`);
  deep.loop = deep;
  json({ context: { deep } });
});

test('21 of a graph with more paths than a log has room for the entry has what fits', () => {
  const nodes = Array.from({ length: 40 }, (_, at) => ({ at, links: [] as unknown[] }));
  for (const node of nodes) node.links = [...nodes];
  const text = line({ time: TIME, level: 'INFO', message: 'graph', context: { nodes } }, 'ndjson', MAX, null);
  assert.equal(JSON.parse(text).truncated, true);
});

test('21 what knows how to be JSON is written so, and nesting of ordinary depth whole', () => {
  const address = new URL('https://example.test/a');
  let deep: unknown = 'bottom';
  for (let level = 0; level < 60; level += 1) deep = { deep };
  const { context } = json({ context: { address, when: new Date(TIME), nested: deep, set: new Set([1]) } });
  assert.deepEqual(
    [context.address, context.when, context.set],
    ['https://example.test/a', new Date(TIME).toISOString(), [1]],
  );
  assert.deepEqual(context.nested, JSON.parse(JSON.stringify(deep)));
});

test('21 characters survive, and lone surrogates become U+FFFD', () => {
  assert.equal(json({ message: '💥\u2028"\\\u0000' }).msg, '💥\u2028"\\\u0000');
  const lone = json({ message: 'a\ud83db', context: { k: '\udca5', '\ud83d': 1 } });
  assert.deepEqual([lone.msg, lone.context], ['a\ufffdb', { k: '\ufffd', '\ufffd': 1 }]);
});

test('21 an entry that is too long is cut between characters and marked', () => {
  for (const message of ['💥'.repeat(100_000), '\u0001'.repeat(300_000), 'x'.repeat(300 * 1024)]) {
    for (const format of ['ndjson', 'text'] as const) {
      const text = line(
        { time: TIME, level: 'INFO', message, context: { long: message } },
        format,
        MAX,
        null,
      );
      const bytes = new TextEncoder().encode(text).length;
      assert.ok(bytes <= MAX && bytes > MAX / 8, `${format}: ${bytes}`);
      assert.equal(text.includes('\ufffd'), false);
      assert.match(text, format === 'ndjson' ? /"truncated":true/ : /truncated: true$/);
      if (format === 'ndjson') JSON.parse(text);
    }
  }
});
