/** A connection to IndexedDB that closes for newer versions and reopens after the browser has dropped it. */

/** An open that does not answer within this time counts as blocked (ms). */
const OPEN_MS = 5_000;
/** Connections that are tried before a call fails. */
const MAX_ATTEMPTS = 3;

/** What a request inside a transaction results in. */
export const result = <T>(request: IDBRequest<T>): Promise<T> =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

export class Database {
  readonly #name: string;
  readonly #upgrade: (db: IDBDatabase) => void;
  #connection: Promise<IDBDatabase> | null = null;

  /** A new schema is a new `name`: no tab blocks another's upgrade. */
  constructor(name: string, upgrade: (db: IDBDatabase) => void) {
    this.#name = name;
    this.#upgrade = upgrade;
  }

  /**
   * Runs `f` in one transaction and resolves when that is stored. After a dropped connection `f` runs again,
   * so it must be safe to repeat.
   */
  async run<T>(
    stores: string | string[],
    mode: IDBTransactionMode,
    f: (tx: IDBTransaction) => Promise<T> | T,
  ): Promise<T> {
    for (let attempt = 1; ; attempt += 1) {
      this.#connection ??= this.#connect().catch((error: unknown) => {
        this.#connection = null;
        throw error;
      });
      const connection = this.#connection;
      try {
        return await transact((await connection).transaction(stores, mode, { durability: 'relaxed' }), f);
      } catch (error) {
        if (!isDropped(error) || attempt === MAX_ATTEMPTS) throw error;
        // Not one that another call has opened meanwhile.
        if (this.#connection === connection) this.close();
      }
    }
  }

  close(): void {
    this.#connection?.then(
      (db) => db.close(),
      () => {},
    );
    this.#connection = null;
  }

  #connect(): Promise<IDBDatabase> {
    return new Promise((resolve, reject) => {
      // Throws where there is no IndexedDB.
      const request = indexedDB.open(this.#name, 1);
      const timer = setTimeout(() => reject(new Error('IndexedDB does not open')), OPEN_MS);
      request.onupgradeneeded = () => this.#upgrade(request.result);
      request.onerror = () => reject(request.error);
      request.onsuccess = () => {
        clearTimeout(timer);
        const db = request.result;
        db.onversionchange = () => db.close();
        resolve(db);
      };
    });
  }
}

async function transact<T>(tx: IDBTransaction, f: (tx: IDBTransaction) => Promise<T> | T): Promise<T> {
  const stored = new Promise<void>((resolve, reject) => {
    tx.oncomplete = () => resolve();
    tx.onabort = () => reject(tx.error);
  });
  try {
    const value = await f(tx);
    await stored;
    return value;
  } catch (error) {
    try {
      tx.abort();
    } catch {
      // It has ended already.
    }
    await stored.catch(() => {});
    throw tx.error ?? error;
  }
}

export const isQuota = (error: unknown): boolean => (error as Error)?.name === 'QuotaExceededError';

/** Whether the connection itself is gone (Safari drops them), as against a transaction that failed. */
function isDropped(error: unknown): boolean {
  return ['InvalidStateError', 'UnknownError', 'TransactionInactiveError'].includes((error as Error)?.name);
}
