/** A connection to IndexedDB that closes for newer versions and reopens after the browser has dropped it. */

import { type DBSchema, type IDBPDatabase, openDB } from 'idb';

/** An open that does not answer within this time counts as blocked (ms). */
const OPEN_MS = 5_000;
/** Connections that are tried before a call fails. */
const MAX_ATTEMPTS = 3;

export class Database<S extends DBSchema> {
  readonly #name: string;
  readonly #upgrade: (db: IDBPDatabase<S>) => void;
  #connection: Promise<IDBPDatabase<S>> | null = null;

  /** A new schema is a new `name`: no tab blocks another's upgrade. */
  constructor(name: string, upgrade: (db: IDBPDatabase<S>) => void) {
    this.#name = name;
    this.#upgrade = upgrade;
  }

  /** Runs `f`, again on a new connection if this one was dropped. `f` must be safe to repeat. */
  async use<T>(f: (db: IDBPDatabase<S>) => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt += 1) {
      const connection = this.#open();
      try {
        return await f(await connection);
      } catch (error) {
        if (!isDropped(error) || attempt === MAX_ATTEMPTS) throw error;
        // Not one that another call has opened meanwhile.
        if (this.#connection === connection) this.close();
      }
    }
  }

  close(): void {
    const connection = this.#connection;
    this.#connection = null;
    connection?.then(
      (db) => db.close(),
      () => {},
    );
  }

  #open(): Promise<IDBPDatabase<S>> {
    this.#connection ??= this.#connect().catch((error: unknown) => {
      this.#connection = null;
      throw error;
    });
    return this.#connection;
  }

  async #connect(): Promise<IDBPDatabase<S>> {
    if (typeof indexedDB === 'undefined' || !indexedDB) throw new Error('there is no IndexedDB');
    let late = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const opening = openDB<S>(this.#name, 1, {
      upgrade: this.#upgrade,
      blocking: () => this.close(),
      terminated: () => {
        this.#connection = null;
      },
    });
    // A connection that comes too late is closed again.
    opening.then(
      (db) => late && db.close(),
      () => {},
    );
    const patience = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        late = true;
        reject(new Error('IndexedDB does not open'));
      }, OPEN_MS);
    });
    try {
      return await Promise.race([opening, patience]);
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Whether the connection itself is gone (Safari drops them), as against a transaction that failed. */
function isDropped(error: unknown): boolean {
  const name = (error as { name?: string } | null)?.name;
  return name === 'InvalidStateError' || name === 'UnknownError' || name === 'TransactionInactiveError';
}

export function isQuota(error: unknown): boolean {
  return (error as { name?: string } | null)?.name === 'QuotaExceededError';
}
