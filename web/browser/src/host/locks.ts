/** One run at a time for all tabs of the origin. */

import { type Clock, sleep } from './clock.ts';

/** Runs `f` while no other run of the origin holds `name`. */
export type Exclusive = <T>(name: string, f: () => Promise<T>) => Promise<T>;

/** A holder that does not end within this time is taken for frozen (ms). */
export const STEAL_AFTER_MS = 120_000;

/** A place for leases, where there are no Web Locks: reads and writes `value` in one transaction. */
export interface LeaseStore {
  takeLease(name: string, owner: string, nowMs: number, untilMs: number): Promise<boolean>;
  releaseLease(name: string, owner: string): Promise<void>;
}

/**
 * With Web Locks. One that is held for too long is stolen: what runs under it must be safe beside another
 * run, which the frozen tab's may turn out to be.
 */
export function webLocks(locks: LockManager, clock: Clock): Exclusive {
  return async <T>(name: string, f: () => Promise<T>) => {
    const runs: Promise<T>[] = [];
    const abort = new AbortController();
    const cancel = clock.after(STEAL_AFTER_MS, () => abort.abort());
    const run = () => {
      cancel();
      const running = f();
      runs.push(running);
      // The outcome goes past the lock, whose promise rejects by itself when it is stolen.
      return running.catch(() => {});
    };
    try {
      await locks.request(name, { signal: abort.signal }, run);
    } catch (error) {
      // Rejected because it waited too long, or because another tab stole the lock from this run, which goes on.
      if (!runs.length) {
        if (!abort.signal.aborted) throw error;
        await locks.request(name, { steal: true }, run).catch((reason: unknown) => {
          if (!runs.length) throw reason;
        });
      }
    }
    return runs[0] as Promise<T>;
  };
}

/** With leases in storage, for browsers without Web Locks. */
export function leases(store: LeaseStore, owner: string, clock: Clock): Exclusive {
  return async (name, f) => {
    // Where the database fails, there is nothing in it that another run could send twice.
    const take = () =>
      store.takeLease(name, owner, clock.now(), clock.now() + STEAL_AFTER_MS).catch(() => true);
    while (!(await take())) await sleep(clock, 500 + clock.random() * 500);
    try {
      return await f();
    } finally {
      await store.releaseLease(name, owner).catch(() => {});
    }
  };
}
