/** What the database of the log client holds. */

import { result } from '../host/idb.ts';
import type { Held } from './held.ts';
import { type Batch, droppedTotal, noUsage, type Row, type StoredRow, type Usage } from './store.ts';

/** A new schema gets a new name. */
export const DATABASE = 'logferry-logs-1';

export interface Mark {
  upTo: number;
  /** When it was last moved (ms). */
  at: number;
}

export interface Lease {
  owner: string;
  until: number;
}

type Stores = 'rows' | 'batches' | 'files' | 'meta';

export const ALL: Stores[] = ['rows', 'batches', 'files', 'meta'];

export function upgrade(db: IDBDatabase): void {
  db.createObjectStore('rows', { keyPath: 'id', autoIncrement: true }).createIndex('scope', 'scope');
  db.createObjectStore('batches', { keyPath: 'id' }).createIndex('scope', 'scope');
  // The files of `batches`, apart, so that a look at the outbox does not load them.
  db.createObjectStore('files');
  db.createObjectStore('meta');
}

/** A transaction on the database. The failure of a request that is not awaited is that of its transaction. */
export class Tx {
  readonly #tx: IDBTransaction;

  constructor(tx: IDBTransaction) {
    this.#tx = tx;
  }

  store(name: Stores): IDBObjectStore {
    return this.#tx.objectStore(name);
  }

  /** What `meta` has under a name: a `Mark`, `Usage`, `Lease` or `Held`. */
  meta<T>(name: string): Promise<T | undefined> {
    return result<T | undefined>(this.store('meta').get(name));
  }

  putMeta(name: string, value: Mark | Usage | Lease | Held): void {
    this.store('meta').put(value, name);
  }

  async usage(scope: string): Promise<Usage> {
    return (await this.meta<Usage>(`usage:${scope}`)) ?? noUsage();
  }

  /** Nothing is kept of a scope that has nothing: each meeting is one. */
  putUsage(scope: string, usage: Usage): void {
    if (usage.entries || usage.bytes || droppedTotal(usage.dropped)) this.putMeta(`usage:${scope}`, usage);
    else this.store('meta').delete(`usage:${scope}`);
  }

  addRow(row: Row, usage: Usage): void {
    this.store('rows').add(row);
    usage.entries += row.n;
    usage.bytes += row.bytes;
  }

  row(id: number): Promise<StoredRow | undefined> {
    return result<StoredRow | undefined>(this.store('rows').get(id));
  }

  /** Visits the rows of a scope, oldest first, until `f` returns `false`. */
  rows(scope: string, f: (row: StoredRow, at: IDBCursorWithValue) => unknown): Promise<void> {
    return visit(this.store('rows').index('scope').openCursor(scope), (at) => f(at.value, at));
  }

  batch(id: string): Promise<Batch | undefined> {
    return result<Batch | undefined>(this.store('batches').get(id));
  }

  batches(scope: string): Promise<Batch[]> {
    return result<Batch[]>(this.store('batches').index('scope').getAll(scope));
  }

  deleteBatch(id: string): void {
    this.store('batches').delete(id);
    this.store('files').delete(id);
  }

  /** The records of `Held` lines. */
  held(): Promise<Held[]> {
    return result<Held[]>(this.store('meta').getAll(named('held')));
  }

  /** Forgets the records of a kind that `f` says are over. */
  forget<T>(kind: 'tab' | 'held', f: (record: T) => boolean): Promise<void> {
    return visit(this.store('meta').openCursor(named(kind)), (at) => {
      if (f(at.value)) at.delete();
    });
  }
}

/** The names in `meta` of one kind. */
const named = (kind: string): IDBKeyRange => IDBKeyRange.bound(`${kind}:`, `${kind};`);

/** Visits what a cursor finds until `f` returns `false`. */
export const visit = <C extends IDBCursor>(
  request: IDBRequest<C | null>,
  f: (at: C) => unknown,
): Promise<void> =>
  new Promise((resolve, reject) => {
    request.onerror = () => reject(request.error);
    request.onsuccess = () => {
      const at = request.result;
      if (at && f(at) !== false) at.continue();
      else resolve();
    };
  });
