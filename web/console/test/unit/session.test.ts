import assert from 'node:assert/strict';
import { test } from 'node:test';
import { apiBase } from '../../src/api.ts';
import { candidates, forget, headersOf, keep, load } from '../../src/session.ts';

class Memory implements Storage {
  private readonly kept = new Map<string, string>();
  get length(): number {
    return this.kept.size;
  }
  clear = () => this.kept.clear();
  getItem = (name: string) => this.kept.get(name) ?? null;
  key = (n: number) => [...this.kept.keys()][n] ?? null;
  removeItem = (name: string) => void this.kept.delete(name);
  setItem = (name: string, value: string) => void this.kept.set(name, value);
}

const KEY = '0123456789abcdef'.repeat(3);

test('a credential is kept for eight hours', () => {
  const storage = new Memory();
  const [credential] = candidates(KEY, 1_000);
  assert.ok(credential);
  keep(storage, credential);
  assert.deepEqual(load(storage, 1_000 + 8 * 3_600_000 - 1), credential);
  assert.equal(load(storage, 1_000 + 8 * 3_600_000), undefined);
  assert.equal(storage.length, 0);
  keep(storage, credential);
  forget(storage);
  assert.equal(load(storage, 1_000), undefined);
});

test('what another version has left is forgotten', () => {
  const storage = new Memory();
  for (const text of ['{', '{}', 'null', '"x"']) {
    storage.setItem('logferry.credential', text);
    assert.equal(load(storage, 0), undefined);
    assert.equal(storage.length, 0, text);
  }
});

test('48 hex characters are first tried as an API key, three parts are a token, the rest is the admin key', () => {
  const kinds = (text: string) => candidates(text, 0).map(({ kind }) => kind);
  assert.deepEqual(kinds(` ${KEY}\n`), ['app', 'admin']);
  assert.deepEqual(kinds('a.b.c'), ['view']);
  assert.deepEqual(kinds('correct horse'), ['admin']);
  assert.deepEqual(headersOf({ kind: 'app', secret: 'k', until: 0 }), { 'X-API-Key': 'k' });
  assert.deepEqual(headersOf({ kind: 'admin', secret: 'k', until: 0 }), { 'X-Admin-Key': 'k' });
  assert.deepEqual(headersOf({ kind: 'view', secret: 'k', until: 0 }), { Authorization: 'Bearer k' });
});

test('the API is beside the console, with a path in front and below /v1 alike', () => {
  for (const [page, api] of [
    ['https://a.example/console/', 'https://a.example/v1/'],
    ['https://a.example/console/index.html#/logs', 'https://a.example/v1/'],
    ['http://127.0.0.1:1/_aws/execute-api/x/console/', 'http://127.0.0.1:1/_aws/execute-api/x/v1/'],
    ['https://a.example/v1/console/', 'https://a.example/v1/'],
  ] as const) {
    assert.equal(apiBase(page).href, api);
  }
});
