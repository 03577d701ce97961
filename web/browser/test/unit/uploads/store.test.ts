import assert from 'node:assert/strict';
import test from 'node:test';
import { BrowserStore } from '../../../src/uploads/store.ts';
import { MIB, record } from './fakes.ts';

/** An IndexedDB that takes what it gets, or nothing while `full`. */
class FakeDatabase {
  full = false;

  open(): object {
    const request = { result: this, onsuccess: () => {} };
    queueMicrotask(() => request.onsuccess());
    return request;
  }

  transaction(): object {
    const tx = {
      error: null as Error | null,
      oncomplete: () => {},
      onabort: () => {},
      abort: () => tx.onabort(),
      objectStore: () => ({
        put: () => {
          if (this.full) throw new DOMException('full', 'QuotaExceededError');
        },
      }),
    };
    setImmediate(() => tx.oncomplete());
    return tx;
  }
}

test('a store is durable again once what it refused is stored', async () => {
  const indexedDB = new FakeDatabase();
  Object.assign(globalThis, { indexedDB });
  const store = new BrowserStore();
  const [one, other] = [record(MIB, { id: 'one' }), record(MIB, { id: 'other' })];
  await store.put(one);
  assert.equal(store.durable, true);
  indexedDB.full = true;
  await store.put(one);
  await store.put(other);
  assert.equal(store.durable, false);
  indexedDB.full = false;
  await store.put(one);
  assert.equal(store.durable, false);
  await store.put(other);
  assert.equal(store.durable, true);
});
