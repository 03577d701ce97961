/** The store in IndexedDB. Totals are kept in the transactions that change them: nothing is counted by reading. */

import { Database } from '../host/database.ts';
import type { LeaseStore } from '../host/locks.ts';
import { type Held, isHeld } from './held.ts';
import { arrived, forgetHeld, heldRange, hold, release } from './idb-held.ts';
import {
  ALL,
  DATABASE,
  type Lease,
  type Mark,
  quiet,
  readUsage,
  type Schema,
  upgrade,
  type Write,
  writeUsage,
} from './idb-schema.ts';
import { firstRows } from './memory-store.ts';
import {
  type Append,
  addDropped,
  type Batch,
  lostOf,
  noUsage,
  rowsOf,
  type Store,
  type StoredRow,
  toDrop,
  type Usage,
} from './store.ts';
import type { DropReason } from './types.ts';

export class IdbStore implements Store, LeaseStore {
  readonly kind = 'indexeddb';
  readonly #database = new Database<Schema>(DATABASE, upgrade);

  /** Fails if the database does not open. */
  async probe(): Promise<void> {
    await this.#database.use((db) => db.count('meta'));
  }

  close(): void {
    this.#database.close();
  }

  append(what: Append): Promise<void> {
    return this.#write(async (tx) => {
      const name = `tab:${what.tab}`;
      const meta = tx.objectStore('meta');
      const mark = (await meta.get(name)) as Mark | undefined;
      const last = what.groups.at(-1)?.group ?? 0;
      if (last <= (mark?.upTo ?? 0)) return;
      const usage = await readUsage(tx, what.scope);
      for (const row of rowsOf(what, mark?.upTo ?? 0)) {
        quiet(tx.objectStore('rows').add(row));
        usage.entries += row.n;
        usage.bytes += row.bytes;
      }
      const lost = lostOf(what.groups, mark?.upTo ?? 0);
      if (lost) usage.dropped = addDropped(usage.dropped, { exit: lost });
      writeUsage(tx, what.scope, usage);
      quiet(meta.put({ upTo: last, at: what.nowMs }, name));
    });
  }

  rows(scope: string, maxBytes: number): Promise<StoredRow[]> {
    return this.#database.use(async (db) => {
      const rows: StoredRow[] = [];
      let bytes = 0;
      const tx = db.transaction(['rows', 'meta']);
      const held = (await tx.objectStore('meta').getAll(heldRange())) as Held[];
      const index = tx.objectStore('rows').index('scope');
      for (let at = await index.openCursor(scope); at; at = await at.continue()) {
        if (isHeld(at.value, held)) continue;
        rows.push(at.value as StoredRow);
        bytes += at.value.bytes;
        if (bytes > maxBytes) break;
      }
      return firstRows(rows, maxBytes);
    });
  }

  seal(ids: number[], batch: Batch, data: ArrayBuffer, dropped: Usage['dropped']): Promise<boolean> {
    return this.#write(async (tx) => {
      const rows = tx.objectStore('rows');
      // After a reopened connection the first try may have got through.
      if (await tx.objectStore('batches').getKey(batch.id)) return true;
      const found = await Promise.all(ids.map((id) => rows.get(id)));
      const bytes = found.reduce((sum, row) => sum + (row?.bytes ?? 0), 0);
      const held = (await tx.objectStore('meta').getAll(heldRange())) as Held[];
      if (found.some((row) => !row || isHeld(row, held))) return false;
      for (const id of ids) quiet(rows.delete(id));
      quiet(tx.objectStore('batches').add(batch));
      quiet(tx.objectStore('files').add(data, batch.id));
      const usage = await readUsage(tx, batch.scope);
      usage.bytes += batch.bytes - bytes;
      usage.dropped = addDropped(usage.dropped, dropped, -1);
      writeUsage(tx, batch.scope, usage);
      return true;
    });
  }

  batches(scope: string): Promise<Batch[]> {
    return this.#database.use(async (db) => {
      const batches = await db.getAllFromIndex('batches', 'scope', scope);
      return batches.sort((a, b) => a.at - b.at);
    });
  }

  data(id: string): Promise<ArrayBuffer | undefined> {
    return this.#database.use((db) => db.get('files', id));
  }

  update(id: string, change: (batch: Batch) => Batch, data?: ArrayBuffer): Promise<Batch | undefined> {
    return this.#write(async (tx) => {
      const batch = await tx.objectStore('batches').get(id);
      if (!batch) return undefined;
      const changed = change(batch);
      if (data && changed !== batch) {
        quiet(tx.objectStore('files').put(data, id));
        const usage = await readUsage(tx, changed.scope);
        usage.bytes += changed.bytes - batch.bytes;
        writeUsage(tx, changed.scope, usage);
      }
      quiet(tx.objectStore('batches').put(changed));
      return changed;
    });
  }

  remove(id: string): Promise<void> {
    return this.#write((tx) => removeBatch(tx, id));
  }

  /** Holds what a tab has stored of a scope, and what it stores from now on, for a form; see [`hold`]. */
  hold(what: Omit<Held, 'from'>): Promise<number | undefined> {
    return this.#write((tx) => hold(tx, what));
  }

  held(scope: string): Promise<Held[]> {
    return this.#database.use(async (db) => {
      const all = (await db.getAll('meta', heldRange())) as Held[];
      return all.filter((held) => held.scope === scope);
    });
  }

  /** Sets what a tab's form holds free if `which` says so; returns what it was. */
  release(tab: string, which: (held: Held) => boolean): Promise<Held | undefined> {
    return this.#write((tx) => release(tx, tab, which));
  }

  /** Removes the lines of a form that has arrived. */
  arrived(held: Held, nowMs: number): Promise<void> {
    return this.#write((tx) => arrived(tx, held, nowMs));
  }

  scopes(): Promise<string[]> {
    return this.#database.use(async (db) => {
      const found = new Set<string>();
      for (const store of ['rows', 'batches'] as const) {
        const index = db.transaction(store).store.index('scope');
        let at = await index.openKeyCursor(null, 'nextunique');
        for (; at; at = await at.continue()) found.add(at.key);
      }
      return [...found];
    });
  }

  usage(scope: string): Promise<Usage> {
    return this.#database.use(
      async (db) => ((await db.get('meta', `usage:${scope}`)) as Usage | undefined) ?? noUsage(),
    );
  }

  drop(scope: string, entries: number, bytes: number, olderThanMs: number, why: DropReason): Promise<number> {
    return this.#write(async (tx) => {
      const items: { id: number | string; n: number; bytes: number; at: number; key?: string }[] = [];
      const index = tx.objectStore('rows').index('scope');
      for (let at = await index.openCursor(scope); at; at = await at.continue()) {
        const { n, bytes, at: stored } = at.value;
        items.push({ id: at.primaryKey, n, bytes, at: stored });
      }
      items.push(...(await tx.objectStore('batches').index('scope').getAll(scope)));
      items.sort((a, b) => a.at - b.at);
      let count = 0;
      const usage = await readUsage(tx, scope);
      for (const { id, n, bytes: size } of toDrop(items, usage, entries, bytes, olderThanMs)) {
        count += n;
        usage.entries -= n;
        usage.bytes -= size;
        if (typeof id === 'number') quiet(tx.objectStore('rows').delete(id));
        else {
          quiet(tx.objectStore('batches').delete(id));
          quiet(tx.objectStore('files').delete(id));
        }
      }
      if (!count) return 0;
      usage.dropped = addDropped(usage.dropped, { [why]: count });
      writeUsage(tx, scope, usage);
      return count;
    });
  }

  /** Forgets the marks of tabs that have not written since `olderThanMs`, and forms that ended before it. */
  forgetTabs(olderThanMs: number): Promise<void> {
    return this.#write(async (tx) => {
      const range = IDBKeyRange.bound('tab:', 'tab;');
      for (let at = await tx.objectStore('meta').openCursor(range); at; at = await at.continue()) {
        if ((at.value as Mark).at < olderThanMs) quiet(at.delete());
      }
      await forgetHeld(tx, olderThanMs);
    });
  }

  takeLease(name: string, owner: string, nowMs: number, untilMs: number): Promise<boolean> {
    return this.#write(async (tx) => {
      const meta = tx.objectStore('meta');
      const lease = (await meta.get(`lease:${name}`)) as Lease | undefined;
      if (lease && lease.owner !== owner && lease.until > nowMs) return false;
      quiet(meta.put({ owner, until: untilMs }, `lease:${name}`));
      return true;
    });
  }

  releaseLease(name: string, owner: string): Promise<void> {
    return this.#write(async (tx) => {
      const meta = tx.objectStore('meta');
      const lease = (await meta.get(`lease:${name}`)) as Lease | undefined;
      if (lease?.owner === owner) quiet(meta.delete(`lease:${name}`));
    });
  }

  /** Stores rows that waited in memory, and what was dropped there. */
  adopt(rows: StoredRow[], dropped: Map<string, Usage['dropped']>, nowMs: number): Promise<void> {
    return this.#write(async (tx) => {
      const meta = tx.objectStore('meta');
      for (const { id: _, ...row } of rows) {
        quiet(tx.objectStore('rows').add(row));
        const usage = await readUsage(tx, row.scope);
        usage.entries += row.n;
        usage.bytes += row.bytes;
        writeUsage(tx, row.scope, usage);
        const mark = (await meta.get(`tab:${row.tab}`)) as Mark | undefined;
        if ((mark?.upTo ?? 0) < row.group) quiet(meta.put({ upTo: row.group, at: nowMs }, `tab:${row.tab}`));
      }
      for (const [scope, more] of dropped) {
        const usage = await readUsage(tx, scope);
        usage.dropped = addDropped(usage.dropped, more);
        writeUsage(tx, scope, usage);
      }
    });
  }

  /** One transaction, stored when it has ended. `f` may run twice, after a dropped connection. */
  #write<T>(f: (tx: Write) => Promise<T>): Promise<T> {
    return this.#database.use(async (db) => {
      const tx = db.transaction(ALL, 'readwrite', { durability: 'relaxed' });
      try {
        const value = await f(tx as Write);
        await tx.done;
        return value;
      } catch (error) {
        try {
          tx.abort();
        } catch {
          // It has ended already.
        }
        await tx.done.catch(() => {});
        throw tx.error ?? error;
      }
    });
  }
}

async function removeBatch(tx: Write, id: string): Promise<void> {
  const batch = await tx.objectStore('batches').get(id);
  if (!batch) return;
  quiet(tx.objectStore('batches').delete(id));
  quiet(tx.objectStore('files').delete(id));
  const usage = await readUsage(tx, batch.scope);
  usage.entries -= batch.n;
  usage.bytes -= batch.bytes;
  writeUsage(tx, batch.scope, usage);
}
