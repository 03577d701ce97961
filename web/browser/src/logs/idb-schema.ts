/** What the database of the log client holds. */

import type { DBSchema, IDBPDatabase, IDBPTransaction } from 'idb';
import type { Held } from './held.ts';
import { type Batch, droppedTotal, noUsage, type Row, type Usage } from './store.ts';

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

export interface Schema extends DBSchema {
  rows: { key: number; value: Row; indexes: { scope: string } };
  batches: { key: string; value: Batch; indexes: { scope: string } };
  /** The files of `batches`, apart, so that a look at the outbox does not load them. */
  files: { key: string; value: ArrayBuffer };
  meta: { key: string; value: Mark | Usage | Lease | Held };
}

type Stores = 'rows' | 'batches' | 'files' | 'meta';
export type Write = IDBPTransaction<Schema, Stores[], 'readwrite'>;

export const ALL: Stores[] = ['rows', 'batches', 'files', 'meta'];

/** The failure of a request that is not awaited is that of its transaction. */
export function quiet(request: Promise<unknown>): void {
  request.catch(() => {});
}

export function upgrade(db: IDBPDatabase<Schema>): void {
  db.createObjectStore('rows', { keyPath: 'id', autoIncrement: true }).createIndex('scope', 'scope');
  db.createObjectStore('batches', { keyPath: 'id' }).createIndex('scope', 'scope');
  db.createObjectStore('files');
  db.createObjectStore('meta');
}

export async function readUsage(tx: Write, scope: string): Promise<Usage> {
  return ((await tx.objectStore('meta').get(`usage:${scope}`)) as Usage | undefined) ?? noUsage();
}

/** Nothing is kept of a scope that has nothing: each meeting is one. */
export function writeUsage(tx: Write, scope: string, usage: Usage): void {
  const empty = usage.entries === 0 && usage.bytes === 0 && droppedTotal(usage.dropped) === 0;
  const meta = tx.objectStore('meta');
  quiet(empty ? meta.delete(`usage:${scope}`) : meta.put(usage, `usage:${scope}`));
}
