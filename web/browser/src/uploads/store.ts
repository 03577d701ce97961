/** Upload records and files in IndexedDB; records in memory where the database cannot be used. */

import { Database, result } from '../host/idb.ts';
import type { UploadRecord, UploadStore } from './sessions.ts';

type Kept = Blob | FileSystemFileHandle;

/**
 * IndexedDB, and memory for the records that it refuses (private windows, a full disk). An upload does not
 * stop because it could not be resumed after a restart; `durable` says whether it could.
 */
export class BrowserStore implements UploadStore {
  readonly #database = new Database('logferry-uploads-1', (db) => {
    db.createObjectStore('sessions', { keyPath: 'id' }).createIndex('scope', 'scope');
    db.createObjectStore('files');
  });
  readonly #memory = new Map<string, UploadRecord>();
  durable = true;

  async all(scope: string): Promise<UploadRecord[]> {
    const stored = await this.#read<UploadRecord[]>('sessions', (store) =>
      store.index('scope').getAll(scope),
    );
    const waiting = [...this.#memory.values()].filter((record) => record.scope === scope);
    return [...(stored ?? []), ...waiting].sort((one, other) => one.order - other.order);
  }

  async get(id: string): Promise<UploadRecord | undefined> {
    return this.#memory.get(id) ?? this.#read('sessions', (store) => store.get(id));
  }

  async put(record: UploadRecord): Promise<void> {
    if (await this.#write((sessions) => sessions.put(record))) this.#memory.delete(record.id);
    else this.#memory.set(record.id, { ...record });
    this.durable = !this.#memory.size;
  }

  async remove(id: string): Promise<void> {
    this.#memory.delete(id);
    await this.#write((sessions, files) => {
      sessions.delete(id);
      files.delete(id);
    });
  }

  /** A file that does not fit is not kept: the page still has it. */
  async keepFile(id: string, file: Kept): Promise<void> {
    await this.#write((_, files) => files.put(file, id));
  }

  file(id: string): Promise<Kept | undefined> {
    return this.#read('files', (store) => store.get(id));
  }

  async dropFile(id: string): Promise<void> {
    await this.#write((_, files) => files.delete(id));
  }

  #read<T>(store: string, f: (store: IDBObjectStore) => IDBRequest<T>): Promise<T | undefined> {
    return this.#try(store, 'readonly', (tx) => result(f(tx.objectStore(store))));
  }

  /** Whether it is stored. */
  async #write(f: (sessions: IDBObjectStore, files: IDBObjectStore) => unknown): Promise<boolean> {
    const done = await this.#try(['sessions', 'files'], 'readwrite', (tx) => {
      f(tx.objectStore('sessions'), tx.objectStore('files'));
      return true;
    });
    return done === true;
  }

  async #try<T>(
    stores: string | string[],
    mode: IDBTransactionMode,
    f: (tx: IDBTransaction) => Promise<T> | T,
  ): Promise<T | undefined> {
    try {
      return await this.#database.run(stores, mode, f);
    } catch {
      this.durable = false;
      return undefined;
    }
  }
}
