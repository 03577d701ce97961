/** What a failed try costs: one of the tries if the service failed, nothing while the network is away. */

import { jitterMs } from '../host/backoff.ts';
import type { Clock } from '../host/clock.ts';
import { type Passing, UploadFailure } from './errors.ts';
import { type Network, sleep } from './ports.ts';

/** The longest pause between tries, and the longest that a service may ask for (ms). */
const LONGEST_PAUSE_MS = 20_000;
const LONGEST_WISH_MS = 120_000;
/** While the network is away it is tried this often at the latest (ms). */
const OUTAGE_PAUSE_MS = 30_000;

export interface PatiencePorts {
  clock: Clock;
  network: Network;
}

export interface PatienceSettings {
  maxRetries: number;
  retryDelayMs: number;
}

export class Patience {
  readonly #ports: PatiencePorts;
  readonly #settings: PatienceSettings;
  readonly #onWaiting: (waiting: boolean) => void;
  #outage: Promise<void> | undefined;

  /**
   * Whether the service answers at all. Without it, as before the first answer, the browser's word
   * decides: a wrong endpoint must not wait without end.
   */
  probe: ((signal: AbortSignal) => Promise<boolean>) | undefined;

  constructor(ports: PatiencePorts, settings: PatienceSettings, onWaiting: (waiting: boolean) => void) {
    this.#ports = ports;
    this.#settings = settings;
    this.#onWaiting = onWaiting;
  }

  /** Repeats `attempt` while its failure is passing. Every try checks the signal first. */
  async run<T>(signal: AbortSignal, attempt: () => Promise<T>): Promise<T> {
    for (let tries = 0; ; ) {
      signal.throwIfAborted();
      try {
        return await attempt();
      } catch (error) {
        signal.throwIfAborted();
        const passing = error instanceof UploadFailure && error.passing;
        if (!passing) throw error;
        if (passing.network && (await this.#wasOutage(signal))) continue;
        if (tries >= this.#settings.maxRetries) throw error;
        tries += 1;
        await sleep(this.#ports.clock, this.#pauseMs(passing, tries), signal);
      }
    }
  }

  #pauseMs({ retryAfterMs }: Passing, tries: number): number {
    if (retryAfterMs !== undefined) return Math.min(retryAfterMs, LONGEST_WISH_MS);
    return jitterMs(this.#settings.retryDelayMs, LONGEST_PAUSE_MS, tries, this.#ports.clock.random());
  }

  /** If the network is away, waits for its return and says so. */
  async #wasOutage(signal: AbortSignal): Promise<boolean> {
    const { probe } = this;
    if (!this.#outage && (await (probe ? probe(signal) : this.#ports.network.online()))) return false;
    signal.throwIfAborted();
    // The lanes of an upload share one outage.
    this.#outage ??= this.#wait(signal).finally(() => {
      this.#outage = undefined;
    });
    await this.#outage;
    return true;
  }

  async #wait(signal: AbortSignal): Promise<void> {
    const { clock, network } = this.#ports;
    this.#onWaiting(true);
    for (let pause = 1_000; ; pause *= 2) {
      // The browser may be wrong: without its word the service is tried, too.
      const wait = network.online() ? Math.min(pause, OUTAGE_PAUSE_MS) : OUTAGE_PAUSE_MS;
      let stop = () => {};
      const back = new Promise<void>((go) => {
        stop = network.onOnline(go);
      });
      await Promise.race([back, sleep(clock, wait, signal)]).finally(stop);
      if (!this.probe || (await this.probe(signal))) break;
    }
    this.#onWaiting(false);
  }
}
