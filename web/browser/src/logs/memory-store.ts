/** The store where IndexedDB is missing, refused or full: the same promises, for as long as the host lives. */

import {
  type Append,
  addDropped,
  type Batch,
  droppedTotal,
  lostOf,
  noUsage,
  rowsOf,
  type Store,
  type StoredRow,
  toDrop,
  type Usage,
} from './store.ts';
import type { DropReason } from './types.ts';

export class MemoryStore implements Store {
  readonly kind = 'memory';
  #rows: StoredRow[] = [];
  #batches = new Map<string, { batch: Batch; data: ArrayBuffer }>();
  #upTo = new Map<string, number>();
  #usage = new Map<string, Usage>();
  #nextId = 1;

  async append(what: Append): Promise<void> {
    const upTo = this.#upTo.get(what.tab) ?? 0;
    const last = what.groups.at(-1)?.group ?? 0;
    if (last <= upTo) return;
    const usage = this.#use(what.scope);
    for (const row of rowsOf(what, upTo)) {
      this.#rows.push({ ...row, id: this.#nextId++ });
      usage.entries += row.n;
      usage.bytes += row.bytes;
    }
    const lost = lostOf(what.groups, upTo);
    if (lost) usage.dropped = addDropped(usage.dropped, { exit: lost });
    this.#upTo.set(what.tab, last);
  }

  async rows(scope: string, maxBytes: number): Promise<StoredRow[]> {
    return firstRows(
      this.#rows.filter((row) => row.scope === scope),
      maxBytes,
    );
  }

  async seal(ids: number[], batch: Batch, data: ArrayBuffer, dropped: Usage['dropped']): Promise<boolean> {
    const wanted = new Set(ids);
    const sealed = this.#rows.filter((row) => wanted.has(row.id));
    if (sealed.length !== ids.length) return false;
    this.#rows = this.#rows.filter((row) => !wanted.has(row.id));
    this.#batches.set(batch.id, { batch, data });
    const usage = this.#use(batch.scope);
    usage.bytes += batch.bytes - sealed.reduce((sum, row) => sum + row.bytes, 0);
    usage.dropped = addDropped(usage.dropped, dropped, -1);
    return true;
  }

  async batches(scope: string): Promise<Batch[]> {
    return [...this.#batches.values()].map(({ batch }) => batch).filter((batch) => batch.scope === scope);
  }

  async data(id: string): Promise<ArrayBuffer | undefined> {
    return this.#batches.get(id)?.data;
  }

  async update(id: string, change: (batch: Batch) => Batch, data?: ArrayBuffer): Promise<Batch | undefined> {
    const held = this.#batches.get(id);
    if (!held) return undefined;
    const changed = change(held.batch);
    this.#use(changed.scope).bytes += changed.bytes - held.batch.bytes;
    if (data && changed !== held.batch) held.data = data;
    held.batch = changed;
    return changed;
  }

  async remove(id: string): Promise<void> {
    const held = this.#batches.get(id);
    if (!held) return;
    this.#batches.delete(id);
    const usage = this.#use(held.batch.scope);
    usage.entries -= held.batch.n;
    usage.bytes -= held.batch.bytes;
  }

  async scopes(): Promise<string[]> {
    const batches = [...this.#batches.values()].map(({ batch }) => batch.scope);
    return [...new Set([...this.#rows.map((row) => row.scope), ...batches])];
  }

  async usage(scope: string): Promise<Usage> {
    return { ...this.#use(scope) };
  }

  async drop(
    scope: string,
    entries: number,
    bytes: number,
    olderThanMs: number,
    why: DropReason,
  ): Promise<number> {
    const usage = this.#use(scope);
    const batches = (await this.batches(scope)).map((batch) => ({ batch, row: null, ...batch }));
    const rows = this.#rows
      .filter((row) => row.scope === scope)
      .map((row) => ({ batch: null, row, n: row.n, bytes: row.bytes, at: row.at }));
    const items = [...batches, ...rows].sort((a, b) => a.at - b.at);
    let count = 0;
    for (const item of toDrop(items, usage, entries, bytes, olderThanMs)) {
      count += item.n;
      if (item.batch) await this.remove(item.batch.id);
      else {
        this.#rows = this.#rows.filter((row) => row !== item.row);
        usage.entries -= item.n;
        usage.bytes -= item.bytes;
      }
    }
    if (count) usage.dropped = addDropped(usage.dropped, { [why]: count });
    return count;
  }

  /** Takes all rows and what was dropped out, to be stored elsewhere. */
  takeRows(): { rows: StoredRow[]; dropped: Map<string, Usage['dropped']> } {
    const rows = this.#rows;
    this.#rows = [];
    const dropped = new Map<string, Usage['dropped']>();
    for (const [scope, usage] of this.#usage) {
      if (droppedTotal(usage.dropped)) dropped.set(scope, usage.dropped);
      usage.dropped = {};
    }
    for (const row of rows) this.#count(row, -1);
    return { rows, dropped };
  }

  /** Puts back what [`takeRows`] has taken. */
  returnRows(rows: StoredRow[], dropped: Map<string, Usage['dropped']>): void {
    this.#rows = [...rows, ...this.#rows];
    for (const row of rows) this.#count(row, 1);
    for (const [scope, more] of dropped) {
      const usage = this.#use(scope);
      usage.dropped = addDropped(usage.dropped, more);
    }
  }

  get isEmpty(): boolean {
    return this.#rows.length === 0 && this.#batches.size === 0;
  }

  #count(row: StoredRow, sign: 1 | -1): void {
    const usage = this.#use(row.scope);
    usage.entries += sign * row.n;
    usage.bytes += sign * row.bytes;
  }

  #use(scope: string): Usage {
    let usage = this.#usage.get(scope);
    if (!usage) {
      usage = noUsage();
      this.#usage.set(scope, usage);
    }
    return usage;
  }
}

/** Rows of the first one's format, up to `maxBytes` of text, at least one. */
export function firstRows(rows: StoredRow[], maxBytes: number): StoredRow[] {
  const chosen: StoredRow[] = [];
  let bytes = 0;
  for (const row of rows) {
    if (chosen[0] && (row.format !== chosen[0].format || bytes + row.bytes > maxBytes)) break;
    chosen.push(row);
    bytes += row.bytes;
  }
  return chosen;
}
