import assert from 'node:assert/strict';
import test from 'node:test';
import { line } from '../../src/logs/format.ts';
import { redactor } from '../../src/logs/redact.ts';
import { SECRETS } from '../support/secrets.ts';

for (const format of ['ndjson', 'text'] as const) {
  test(`22 none of the planted secrets is in a line of ${format}`, () => {
    const rules = redactor({ names: ['badge'], patterns: [/ACCT-\d+/] });
    for (const { secret, message, context } of SECRETS) {
      const text = line({ time: 0, level: 'INFO', message, context }, format, 1 << 18, rules);
      assert.equal(text.includes(secret), false, text);
      assert.ok(text.includes('[redacted]'), text);
    }
  });
}

test('quoted values and names in text are redacted', () => {
  const rules = redactor();
  for (const [text, expected] of [
    ['authorization="Bearer abc" cookie="sid=1" a=1', 'authorization=[redacted] cookie=[redacted] a=1'],
    ['{"msg":"cookie=\\"s t\\" b"}', '{"msg":"cookie=[redacted] b"}'],
    ['password="a,b\\"c d" for jo', 'password=[redacted] for jo'],
    ['{"msg":"password=\\"a\\\\\\"b c\\" for jo"}', '{"msg":"password=[redacted] for jo"}'],
    [
      "{'Authorization': 'Bearer abc', 'pwd': 'it\\'s x', 'a': 1}",
      "{'Authorization': [redacted], 'pwd': [redacted], 'a': 1}",
    ],
    ['{"password"=>"a b", :token=>"c d"}', '{"password"=>[redacted], :token=>[redacted]}'],
    ['passphrase="correct horse', 'passphrase=[redacted]'],
  ]) {
    assert.equal(rules?.text(text ?? ''), expected);
  }
});

test('ordinary text is left alone', () => {
  const rules = redactor();
  for (const text of [
    'GET /orders?page=2&size=10 took 35 ms',
    'the keyboard token ring and secretary are no secrets',
    'key: value pairs',
    'eyJ is how base64 of JSON begins',
  ]) {
    assert.equal(rules?.text(text), text);
  }
  assert.equal(redactor(false), null);
});

test('hostile input is passed in linear time', () => {
  const rules = redactor();
  const begin = performance.now();
  for (const unit of [
    'token=',
    'authorization:',
    'eyJaaaaaaaaaa.',
    '"',
    '\\"',
    '?a=',
    'api-',
    'token="',
    "pwd:'",
    'token=\\\\"\\\\',
  ]) {
    rules?.text(unit.repeat(200_000 / unit.length));
  }
  rules?.text('eyJ'.repeat(70_000));
  assert.ok(performance.now() - begin < 5_000);
});
