/** IndexedDB as long as it works, memory while it does not, and the limits of both. */

import type { Clock } from '../host/clock.ts';
import { isQuota } from '../host/idb.ts';
import type { IdbStore } from './idb-store.ts';
import { MemoryStore } from './memory-store.ts';
import type { Append, Limits, Store, Usage } from './store.ts';
import { addDropped, droppedTotal, noUsage } from './store.ts';
import type { DropReason } from './types.ts';

/** The most that waits in memory (bytes). */
const MEMORY_BYTES = 5 * 1024 * 1024;
/** How often the database is tried again after it failed (ms). Chromium frees nothing for half a minute. */
const RETRY_MS = 60_000;
/** The part that is left after dropping. */
const KEPT = 0.8;

/** IndexedDB as the spool needs it. */
export type Primary = Store &
  Pick<IdbStore, 'probe' | 'adopt' | 'forgetTabs' | 'close' | 'hold' | 'held' | 'release' | 'arrived'>;

export class Spool {
  readonly memory = new MemoryStore();
  readonly #primary: Primary;
  readonly #clock: Clock;
  #state: 'unknown' | 'indexeddb' | 'memory' = 'unknown';
  #quota = false;
  #retryAt = 0;

  constructor(primary: Primary, clock: Clock) {
    this.#primary = primary;
    this.#clock = clock;
  }

  /** The database, while it works. */
  get durable(): Primary | null {
    return this.#state === 'indexeddb' ? this.#primary : null;
  }

  get storage(): 'indexeddb' | 'memory' {
    return this.#state === 'memory' ? 'memory' : 'indexeddb';
  }

  /** Opens the database, if it was not tried yet or failed a while ago; brings over what waits in memory. */
  async ready(): Promise<void> {
    if (this.#state === 'indexeddb' && this.memory.isEmpty) return;
    if (this.#state === 'memory' && this.#clock.now() < this.#retryAt) return;
    const { rows, dropped } = this.memory.takeRows();
    try {
      await this.#primary.probe();
      if (rows.length || dropped.size) await this.#primary.adopt(rows, dropped, this.#clock.now());
      this.#state = 'indexeddb';
    } catch (error) {
      this.memory.returnRows(rows, dropped);
      this.failed(error);
    }
  }

  /** Notes that the database failed: from now on lines go to memory, until it is tried again. */
  failed(error: unknown): void {
    this.#state = 'memory';
    this.#quota = isQuota(error);
    this.#retryAt = this.#clock.now() + RETRY_MS;
  }

  /** The stores that may hold something. */
  stores(): Store[] {
    if (this.#state === 'indexeddb')
      return this.memory.isEmpty ? [this.#primary] : [this.#primary, this.memory];
    // A full database can still be read, and what was sealed before can be sent.
    return this.#quota ? [this.#primary, this.memory] : [this.memory];
  }

  /** Stores lines and keeps to the limits; returns how many lines were dropped for them. */
  async append(what: Append, limits: Limits): Promise<{ dropped: number; why: DropReason }> {
    await this.ready();
    if (this.#state === 'indexeddb') {
      try {
        await this.#primary.append(what);
        const limited = () => this.#limit(this.#primary, what.scope, limits, 'limit');
        return { dropped: await this.#try(limited, 0), why: 'limit' };
      } catch (error) {
        this.failed(error);
      }
    }
    await this.memory.append(what);
    const why = this.#quota ? 'quota' : 'limit';
    const ring = { ...limits, maxBytes: Math.min(limits.maxBytes, MEMORY_BYTES) };
    return { dropped: await this.#limit(this.memory, what.scope, ring, why), why };
  }

  /** Drops what is too old; returns how many lines. */
  async expire(scope: string, maxAgeMs: number): Promise<number> {
    let dropped = 0;
    for (const store of this.stores()) {
      const before = this.#clock.now() - maxAgeMs;
      const any = Number.POSITIVE_INFINITY;
      dropped += await this.#try(() => store.drop(scope, any, any, before, 'age'), 0);
    }
    return dropped;
  }

  async forgetTabs(maxAgeMs: number): Promise<void> {
    const before = this.#clock.now() - maxAgeMs;
    if (this.#state === 'indexeddb') await this.#try(() => this.#primary.forgetTabs(before), undefined);
  }

  /** What waits, in both stores; without what a store cannot tell. */
  async usage(scope: string): Promise<Usage> {
    const sum: Usage = { entries: 0, bytes: 0, dropped: {} };
    for (const store of this.stores()) {
      const usage = await this.#try(() => store.usage(scope), noUsage());
      sum.entries += usage.entries;
      sum.bytes += usage.bytes;
      sum.dropped = addDropped(sum.dropped, usage.dropped);
    }
    return sum;
  }

  async scopes(): Promise<string[]> {
    const found = await Promise.all(this.stores().map((store) => this.#try(() => store.scopes(), [])));
    return [...new Set(found.flat())];
  }

  async hasWork(scope: string): Promise<boolean> {
    const { entries, dropped } = await this.usage(scope);
    return entries > 0 || droppedTotal(dropped) > 0;
  }

  close(): void {
    this.#primary.close();
  }

  async #try<T>(f: () => Promise<T>, otherwise: T): Promise<T> {
    try {
      return await f();
    } catch (error) {
      this.failed(error);
      return otherwise;
    }
  }

  async #limit(store: Store, scope: string, limits: Limits, why: DropReason): Promise<number> {
    const { entries, bytes } = await store.usage(scope);
    if (entries <= limits.maxEntries && bytes <= limits.maxBytes) return 0;
    const keep = (limit: number) => Math.floor(limit * KEPT);
    const before = this.#clock.now() - limits.maxAgeMs;
    return store.drop(scope, keep(limits.maxEntries), keep(limits.maxBytes), before, why);
  }
}
