import assert from 'node:assert/strict';
import test from 'node:test';
import { realClock } from '../../src/host/clock.ts';
import { type LeaseStore, leases, webLocks } from '../../src/host/locks.ts';

/** Clock whose long waits pass at once. */
const impatient = { ...realClock, after: (ms: number, f: () => void) => realClock.after(ms / 1_000, f) };

function memoryLeases(): LeaseStore {
  const held = new Map<string, { owner: string; untilMs: number }>();
  return {
    async takeLease(name, owner, nowMs, untilMs) {
      const lease = held.get(name);
      if (lease && lease.owner !== owner && lease.untilMs > nowMs) return false;
      held.set(name, { owner, untilMs });
      return true;
    },
    async releaseLease(name, owner) {
      if (held.get(name)?.owner === owner) held.delete(name);
    },
  };
}

for (const [kind, make] of [
  ['Web Locks', () => [webLocks(navigator.locks, realClock), webLocks(navigator.locks, realClock)]],
  [
    'leases',
    () => {
      const store = memoryLeases();
      return [leases(store, 'a', impatient), leases(store, 'b', impatient)];
    },
  ],
] as const) {
  test(`${kind}: two runs of one name never overlap, and return what they return`, async () => {
    let inside = 0;
    const run = (name: string) => async () => {
      inside += 1;
      assert.equal(inside, 1);
      await new Promise((done) => setTimeout(done, 10));
      inside -= 1;
      return name;
    };
    const [a, b] = make();
    const name = `test-${kind}`;
    assert.deepEqual(await Promise.all([a?.(name, run('a')), b?.(name, run('b'))]), ['a', 'b']);
  });

  test(`${kind}: an error passes through and frees the lock`, async () => {
    const [a, b] = make();
    const name = `test-error-${kind}`;
    const failing = a?.(name, () => Promise.reject(new Error('inside')));
    await assert.rejects(failing ?? Promise.resolve(), /inside/);
    assert.equal(await b?.(name, async () => 7), 7);
  });
}

test('Web Locks: a lock that is held for too long is stolen, and the outcome of both runs counts', async () => {
  let finish: (value: string) => void = () => {};
  const frozen = webLocks(navigator.locks, realClock)(
    'test-steal',
    () =>
      new Promise<string>((done) => {
        finish = done;
      }),
  );
  const other = await webLocks(navigator.locks, impatient)('test-steal', async () => 'other');
  assert.equal(other, 'other');
  finish('frozen');
  assert.equal(await frozen, 'frozen');
});
