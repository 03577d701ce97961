/** The store in IndexedDB. Totals are kept in the transactions that change them: nothing is counted by reading. */

import { Database, result } from '../host/idb.ts';
import type { LeaseStore } from '../host/locks.ts';
import { type Held, isHeld } from './held.ts';
import { arrived, hold, release } from './idb-held.ts';
import { ALL, DATABASE, type Lease, type Mark, Tx, upgrade, visit } from './idb-schema.ts';
import { firstRows } from './memory-store.ts';
import {
  type Append,
  addDropped,
  type Batch,
  lostOf,
  rowsOf,
  type Store,
  type StoredRow,
  toDrop,
  type Usage,
} from './store.ts';
import type { DropReason } from './types.ts';

export class IdbStore implements Store, LeaseStore {
  readonly kind = 'indexeddb';
  readonly #database = new Database(DATABASE, upgrade);

  /** Fails if the database does not open. */
  async probe(): Promise<void> {
    await this.#read((tx) => result(tx.store('meta').count()));
  }

  close(): void {
    this.#database.close();
  }

  append(what: Append): Promise<void> {
    return this.#write(async (tx) => {
      const name = `tab:${what.tab}`;
      const { upTo = 0 } = (await tx.meta<Mark>(name)) ?? {};
      const last = what.groups.at(-1)?.group ?? 0;
      if (last <= upTo) return;
      const usage = await tx.usage(what.scope);
      for (const row of rowsOf(what, upTo)) tx.addRow(row, usage);
      const lost = lostOf(what.groups, upTo);
      if (lost) usage.dropped = addDropped(usage.dropped, { exit: lost });
      tx.putUsage(what.scope, usage);
      tx.putMeta(name, { upTo: last, at: what.nowMs });
    });
  }

  rows(scope: string, maxBytes: number): Promise<StoredRow[]> {
    return this.#read(async (tx) => {
      const rows: StoredRow[] = [];
      const held = await tx.held();
      let bytes = 0;
      await tx.rows(scope, (row) => {
        if (isHeld(row, held)) return true;
        rows.push(row);
        bytes += row.bytes;
        return bytes <= maxBytes;
      });
      return firstRows(rows, maxBytes);
    });
  }

  seal(ids: number[], batch: Batch, data: ArrayBuffer, dropped: Usage['dropped']): Promise<boolean> {
    return this.#write(async (tx) => {
      // After a reopened connection the first try may have got through.
      if (await tx.batch(batch.id)) return true;
      const found = await Promise.all(ids.map((id) => tx.row(id)));
      const held = await tx.held();
      if (found.some((row) => !row || isHeld(row, held))) return false;
      for (const id of ids) tx.store('rows').delete(id);
      tx.store('batches').add(batch);
      tx.store('files').add(data, batch.id);
      const usage = await tx.usage(batch.scope);
      usage.bytes = found.reduce((sum, row) => sum - (row?.bytes ?? 0), usage.bytes + batch.bytes);
      usage.dropped = addDropped(usage.dropped, dropped, -1);
      tx.putUsage(batch.scope, usage);
      return true;
    });
  }

  async batches(scope: string): Promise<Batch[]> {
    return (await this.#read((tx) => tx.batches(scope))).sort((a, b) => a.at - b.at);
  }

  data(id: string): Promise<ArrayBuffer | undefined> {
    return this.#read((tx) => result<ArrayBuffer | undefined>(tx.store('files').get(id)));
  }

  update(id: string, change: (batch: Batch) => Batch, data?: ArrayBuffer): Promise<Batch | undefined> {
    return this.#write(async (tx) => {
      const batch = await tx.batch(id);
      if (!batch) return undefined;
      const changed = change(batch);
      if (data && changed !== batch) {
        tx.store('files').put(data, id);
        const usage = await tx.usage(changed.scope);
        usage.bytes += changed.bytes - batch.bytes;
        tx.putUsage(changed.scope, usage);
      }
      tx.store('batches').put(changed);
      return changed;
    });
  }

  remove(id: string): Promise<void> {
    return this.#write(async (tx) => {
      const batch = await tx.batch(id);
      if (!batch) return;
      tx.deleteBatch(id);
      const usage = await tx.usage(batch.scope);
      usage.entries -= batch.n;
      usage.bytes -= batch.bytes;
      tx.putUsage(batch.scope, usage);
    });
  }

  /** Holds what a tab has stored of a scope, and what it stores from now on, for a form; see [`hold`]. */
  hold(what: Omit<Held, 'from'>): Promise<number | undefined> {
    return this.#write((tx) => hold(tx, what));
  }

  async held(scope: string): Promise<Held[]> {
    return (await this.#read((tx) => tx.held())).filter((held) => held.scope === scope);
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
    return this.#read(async (tx) => {
      const found = new Set<string>();
      for (const store of ['rows', 'batches'] as const) {
        const scopes = tx.store(store).index('scope').openKeyCursor(null, 'nextunique');
        await visit(scopes, ({ key }) => found.add(String(key)));
      }
      return [...found];
    });
  }

  usage(scope: string): Promise<Usage> {
    return this.#read((tx) => tx.usage(scope));
  }

  drop(scope: string, entries: number, bytes: number, olderThanMs: number, why: DropReason): Promise<number> {
    return this.#write(async (tx) => {
      // Not the rows themselves: their texts would all be in memory at once.
      const items: { id: number | string; n: number; bytes: number; at: number; key?: string }[] = [];
      // What a form may have is not known to be lost.
      const held = await tx.held();
      await tx.rows(scope, (row) => {
        const { id, n, bytes, at } = row;
        if (!isHeld(row, held)) items.push({ id, n, bytes, at });
      });
      items.push(...(await tx.batches(scope)));
      items.sort((a, b) => a.at - b.at);
      let count = 0;
      const usage = await tx.usage(scope);
      for (const { id, n, bytes: size } of toDrop(items, usage, entries, bytes, olderThanMs)) {
        count += n;
        usage.entries -= n;
        usage.bytes -= size;
        if (typeof id === 'number') tx.store('rows').delete(id);
        else tx.deleteBatch(id);
      }
      if (!count) return 0;
      usage.dropped = addDropped(usage.dropped, { [why]: count });
      tx.putUsage(scope, usage);
      return count;
    });
  }

  /** Forgets the marks of tabs that have not written since `olderThanMs`, and forms that ended before it. */
  forgetTabs(olderThanMs: number): Promise<void> {
    return this.#write(async (tx) => {
      await tx.forget<Mark>('tab', ({ at }) => at < olderThanMs);
      await tx.forget<Held>('held', ({ until }) => until < olderThanMs);
    });
  }

  takeLease(name: string, owner: string, nowMs: number, untilMs: number): Promise<boolean> {
    return this.#write(async (tx) => {
      const lease = await tx.meta<Lease>(`lease:${name}`);
      if (lease && lease.owner !== owner && lease.until > nowMs) return false;
      tx.putMeta(`lease:${name}`, { owner, until: untilMs });
      return true;
    });
  }

  releaseLease(name: string, owner: string): Promise<void> {
    return this.#write(async (tx) => {
      const lease = await tx.meta<Lease>(`lease:${name}`);
      if (lease?.owner === owner) tx.store('meta').delete(`lease:${name}`);
    });
  }

  /** Stores rows that waited in memory, and what was dropped there. */
  adopt(rows: StoredRow[], dropped: Map<string, Usage['dropped']>, nowMs: number): Promise<void> {
    return this.#write(async (tx) => {
      for (const { id: _, ...row } of rows) {
        const usage = await tx.usage(row.scope);
        tx.addRow(row, usage);
        tx.putUsage(row.scope, usage);
        const mark = await tx.meta<Mark>(`tab:${row.tab}`);
        if ((mark?.upTo ?? 0) < row.group) tx.putMeta(`tab:${row.tab}`, { upTo: row.group, at: nowMs });
      }
      for (const [scope, more] of dropped) {
        const usage = await tx.usage(scope);
        usage.dropped = addDropped(usage.dropped, more);
        tx.putUsage(scope, usage);
      }
    });
  }

  #read<T>(f: (tx: Tx) => Promise<T>): Promise<T> {
    return this.#database.run(ALL, 'readonly', (tx) => f(new Tx(tx)));
  }

  /** One transaction, stored when it has ended. `f` may run twice, after a dropped connection. */
  #write<T>(f: (tx: Tx) => Promise<T>): Promise<T> {
    return this.#database.run(ALL, 'readwrite', (tx) => f(new Tx(tx)));
  }
}
