/** Cancelled sessions whose parts S3 still has: they are freed now or when the network is back. */

import type { Clock } from '../host/clock.ts';
import type { Network } from './ports.ts';
import type { UploadService } from './service.ts';
import { isOver, type UploadRecord, type UploadStore } from './sessions.ts';

/** Without a word of the browser the service is tried this often (ms). */
const RETRY_MS = 60_000;

export class Freeing {
  readonly #service: UploadService;
  readonly #store: UploadStore;
  readonly #clock: Clock;
  readonly #records = new Map<string, UploadRecord>();
  #cancel: (() => void) | undefined;
  #busy = false;
  /** The network came back, or a record came, during a round. */
  #again = false;

  constructor(service: UploadService, store: UploadStore, clock: Clock, network: Network) {
    this.#service = service;
    this.#store = store;
    this.#clock = clock;
    network.onOnline(() => void this.#run());
  }

  /** Ends the session of a cancelled upload; its record stays until that is done. */
  async free(record: UploadRecord): Promise<void> {
    this.#records.set(record.id, record);
    await this.#run();
  }

  async #run(): Promise<void> {
    this.#again = this.#busy;
    if (this.#busy) return;
    this.#busy = true;
    this.#cancel?.();
    this.#cancel = undefined;
    for (const record of [...this.#records.values()]) {
      if (await this.#ended(record)) {
        this.#records.delete(record.id);
        await this.#store.remove(record.id);
      }
    }
    this.#busy = false;
    if (this.#again) return this.#run();
    if (this.#records.size > 0) this.#cancel = this.#clock.after(RETRY_MS, () => void this.#run());
  }

  async #ended(record: UploadRecord): Promise<boolean> {
    // The service frees what is older by itself.
    if (record.sessionId === '' || isOver(record, this.#clock.now())) return true;
    return this.#service.abort(record);
  }
}
