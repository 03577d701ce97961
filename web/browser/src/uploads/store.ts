/** Upload records and files in IndexedDB; in memory where the database cannot be used. */

import type { DBSchema } from 'idb';
import { Database } from '../host/database.ts';
import { MemoryStore, type UploadRecord, type UploadStore } from './sessions.ts';

interface Schema extends DBSchema {
  sessions: { key: string; value: UploadRecord; indexes: { scope: string } };
  files: { key: string; value: Blob | FileSystemFileHandle };
}

class IndexedStore implements Omit<UploadStore, 'durable'> {
  readonly #database = new Database<Schema>('logferry-uploads-1', (db) => {
    db.createObjectStore('sessions', { keyPath: 'id' }).createIndex('scope', 'scope');
    db.createObjectStore('files');
  });

  async all(scope: string): Promise<UploadRecord[]> {
    const records = await this.#database.use((db) => db.getAllFromIndex('sessions', 'scope', scope));
    return records.sort((one, other) => one.order - other.order);
  }

  get(id: string): Promise<UploadRecord | undefined> {
    return this.#database.use((db) => db.get('sessions', id));
  }

  async put(record: UploadRecord): Promise<void> {
    await this.#database.use((db) => db.put('sessions', record));
  }

  async remove(id: string): Promise<void> {
    await this.#database.use(async (db) => {
      const both = db.transaction(['sessions', 'files'], 'readwrite');
      await Promise.all([
        both.objectStore('sessions').delete(id),
        both.objectStore('files').delete(id),
        both.done,
      ]);
    });
  }

  async keepFile(id: string, file: Blob | FileSystemFileHandle): Promise<boolean> {
    await this.#database.use((db) => db.put('files', file, id));
    return true;
  }

  file(id: string): Promise<Blob | FileSystemFileHandle | undefined> {
    return this.#database.use((db) => db.get('files', id));
  }

  async dropFile(id: string): Promise<void> {
    await this.#database.use((db) => db.delete('files', id));
  }
}

/**
 * IndexedDB, and memory for what it refuses (private windows, a full disk). An upload does not stop
 * because it could not be resumed after a restart; `durable` says whether it could.
 */
export class BrowserStore implements UploadStore {
  readonly #disk = new IndexedStore();
  readonly #memory = new MemoryStore();
  durable = true;

  async all(scope: string): Promise<UploadRecord[]> {
    const stored = await this.#try(() => this.#disk.all(scope), []);
    return [...stored, ...(await this.#memory.all(scope))];
  }

  async get(id: string): Promise<UploadRecord | undefined> {
    return (await this.#memory.get(id)) ?? this.#try(() => this.#disk.get(id), undefined);
  }

  async put(record: UploadRecord): Promise<void> {
    const stored = await this.#try(() => this.#disk.put(record).then(() => true), false);
    if (stored) await this.#memory.remove(record.id);
    else await this.#memory.put(record);
  }

  async remove(id: string): Promise<void> {
    await this.#memory.remove(id);
    await this.#try(() => this.#disk.remove(id), undefined);
  }

  /** A file that does not fit is not kept: the page still has it. */
  keepFile(id: string, file: Blob | FileSystemFileHandle): Promise<boolean> {
    return this.#try(() => this.#disk.keepFile(id, file), false);
  }

  file(id: string): Promise<Blob | FileSystemFileHandle | undefined> {
    return this.#try(() => this.#disk.file(id), undefined);
  }

  async dropFile(id: string): Promise<void> {
    await this.#try(() => this.#disk.dropFile(id), undefined);
  }

  async #try<T>(work: () => Promise<T>, otherwise: T): Promise<T> {
    try {
      return await work();
    } catch {
      this.durable = false;
      return otherwise;
    }
  }
}
