/** How fast: a limit that all uploads of a worker share, and how many parts are under way at once. */

import type { Clock } from '../host/clock.ts';
import { unless } from './ports.ts';

/**
 * A token bucket in bytes. A request body cannot be slowed down (a streamed one has no length, which
 * S3 demands), so a part waits until the time of the parts before it has passed.
 */
export class Pace {
  readonly #clock: Clock;
  /** 0 is no limit. */
  #msPerByte = 0;
  /** When the bytes that have gone are paid for (ms). */
  #freeAt = 0;
  #waiters: { bytes: number; signal: AbortSignal; go: () => void }[] = [];
  #cancelTimer = () => {};

  constructor(clock: Clock, bytesPerSec: number | null) {
    this.#clock = clock;
    this.limit(bytesPerSec);
  }

  get limited(): boolean {
    return this.#msPerByte > 0;
  }

  /** Changes the limit at once: what is owed is paid at the new rate. */
  limit(bytesPerSec: number | null): void {
    const now = this.#clock.now();
    const owed = this.limited ? Math.max(0, this.#freeAt - now) / this.#msPerByte : 0;
    this.#msPerByte = bytesPerSec && bytesPerSec > 0 ? 1_000 / bytesPerSec : 0;
    this.#freeAt = now + owed * this.#msPerByte;
    this.#pump();
  }

  /** Resolves when these bytes may go; first come, first served. */
  async take(bytes: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const turn = new Promise<void>((go) => this.#waiters.push({ bytes, signal, go }));
    this.#pump();
    await unless(signal, turn);
  }

  #pump(): void {
    this.#cancelTimer();
    for (let next = this.#waiters[0]; next; next = this.#waiters[0]) {
      const { bytes, signal, go } = next;
      if (!signal.aborted) {
        const now = this.#clock.now();
        if (this.#freeAt > now) {
          this.#cancelTimer = this.#clock.after(this.#freeAt - now, () => this.#pump());
          return;
        }
        this.#freeAt = now + bytes * this.#msPerByte;
      }
      this.#waiters.shift();
      go();
    }
  }
}

/** A limited number at once, first come, first served. */
export class Slots {
  #free: number;
  #waiting: (() => void)[] = [];

  constructor(slots: number) {
    this.#free = slots;
  }

  /** The result frees the slot. */
  async take(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    while (!this.#free) await unless(signal, new Promise<void>((go) => this.#waiting.push(go)));
    this.#free -= 1;
    return () => {
      this.#free += 1;
      // All of them, for the first may have given up; they queue again in the same order.
      for (const go of this.#waiting.splice(0)) go();
    };
  }
}
