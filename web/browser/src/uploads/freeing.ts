/** Cancelled sessions whose parts S3 still has: they are freed now or when the network is back. */

import type { Clock } from '../host/clock.ts';
import type { Network } from './ports.ts';
import type { UploadService } from './service.ts';
import { isOver, type UploadRecord, type UploadStore } from './sessions.ts';

/** Without a word of the browser the service is tried this often (ms). */
const RETRY_MS = 60_000;

export interface FreeingPorts {
  service: UploadService;
  store: UploadStore;
  clock: Clock;
  network: Network;
}

export class Freeing {
  readonly #ports: FreeingPorts;
  readonly #records = new Set<UploadRecord>();
  #cancelRetry = () => {};
  /** The last round: one follows the other. */
  #round: Promise<void> = Promise.resolve();

  constructor(ports: FreeingPorts) {
    this.#ports = ports;
    ports.network.onOnline(() => void this.#run());
  }

  /** Ends the session of a cancelled upload; its record stays until that is done. */
  free(record: UploadRecord): Promise<void> {
    this.#records.add(record);
    return this.#run();
  }

  #run(): Promise<void> {
    this.#round = this.#round.then(() => this.#freeAll());
    return this.#round;
  }

  async #freeAll(): Promise<void> {
    const { service, store, clock } = this.#ports;
    this.#cancelRetry();
    for (const record of this.#records) {
      // The service frees what is older by itself.
      const over = !record.sessionId || isOver(record, clock.now());
      const freed = over ? 'done' : await service.abort(record);
      if (freed === 'again') continue;
      this.#records.delete(record);
      // The next worker tries it once more.
      if (freed === 'done') await store.remove(record.id);
    }
    if (this.#records.size > 0) this.#cancelRetry = clock.after(RETRY_MS, () => void this.#run());
  }
}
