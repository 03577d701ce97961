/** The store where IndexedDB is missing, refused or full: the same promises, for as long as the host lives. */

import {
  type Append,
  addDropped,
  type Batch,
  droppedTotal,
  lostOf,
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
  readonly #batches = new Map<string, { batch: Batch; data: ArrayBuffer }>();
  readonly #upTo = new Map<string, number>();
  /** By scope, of those that have lost lines. */
  #dropped = new Map<string, Usage['dropped']>();
  #nextId = 1;

  async append(what: Append): Promise<void> {
    const { scope, tab, groups } = what;
    const upTo = this.#upTo.get(tab) ?? 0;
    const last = groups.at(-1)?.group ?? 0;
    if (last <= upTo) return;
    for (const row of rowsOf(what, upTo)) this.#rows.push({ ...row, id: this.#nextId++ });
    this.#addDropped(scope, { exit: lostOf(groups, upTo) });
    this.#upTo.set(tab, last);
  }

  async rows(scope: string, maxBytes: number): Promise<StoredRow[]> {
    return firstRows(
      this.#rows.filter((row) => row.scope === scope),
      maxBytes,
    );
  }

  async seal(ids: number[], batch: Batch, data: ArrayBuffer, dropped: Usage['dropped']): Promise<boolean> {
    const wanted = new Set(ids);
    const rest = this.#rows.filter(({ id }) => !wanted.has(id));
    if (rest.length !== this.#rows.length - ids.length) return false;
    this.#rows = rest;
    this.#batches.set(batch.id, { batch, data });
    this.#addDropped(batch.scope, dropped, -1);
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
    if (data && changed !== held.batch) held.data = data;
    held.batch = changed;
    return changed;
  }

  async remove(id: string): Promise<void> {
    this.#batches.delete(id);
  }

  async scopes(): Promise<string[]> {
    const batches = [...this.#batches.values()].map(({ batch }) => batch);
    return [...new Set([...this.#rows, ...batches].map(({ scope }) => scope))];
  }

  async usage(scope: string): Promise<Usage> {
    const usage = { entries: 0, bytes: 0, dropped: this.#dropped.get(scope) ?? {} };
    for (const { n, bytes } of await this.#items(scope)) {
      usage.entries += n;
      usage.bytes += bytes;
    }
    return usage;
  }

  async drop(
    scope: string,
    entries: number,
    bytes: number,
    olderThanMs: number,
    why: DropReason,
  ): Promise<number> {
    const usage = await this.usage(scope);
    const items = (await this.#items(scope)).sort((a, b) => a.at - b.at);
    const gone = new Set(toDrop(items, usage, entries, bytes, olderThanMs));
    this.#rows = this.#rows.filter((row) => !gone.has(row));
    let count = 0;
    for (const { id, n } of gone) {
      count += n;
      if (typeof id === 'string') this.#batches.delete(id);
    }
    this.#addDropped(scope, { [why]: count });
    return count;
  }

  /** Takes all rows and what was dropped out, to be stored elsewhere. */
  takeRows(): { rows: StoredRow[]; dropped: Map<string, Usage['dropped']> } {
    const taken = { rows: this.#rows, dropped: this.#dropped };
    this.#rows = [];
    this.#dropped = new Map();
    return taken;
  }

  /** Puts back what [`takeRows`] has taken. */
  returnRows(rows: StoredRow[], dropped: Map<string, Usage['dropped']>): void {
    this.#rows = [...rows, ...this.#rows];
    for (const [scope, more] of dropped) this.#addDropped(scope, more);
  }

  get isEmpty(): boolean {
    return this.#rows.length === 0 && this.#batches.size === 0;
  }

  async #items(scope: string): Promise<(StoredRow | Batch)[]> {
    return [...this.#rows.filter((row) => row.scope === scope), ...(await this.batches(scope))];
  }

  #addDropped(scope: string, more: Usage['dropped'], sign: 1 | -1 = 1): void {
    const sum = addDropped(this.#dropped.get(scope) ?? {}, more, sign);
    if (droppedTotal(sum)) this.#dropped.set(scope, sum);
    else this.#dropped.delete(scope);
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
