/** How fast: a limit that all uploads of a worker share, and how many parts are under way at once. */

import type { Clock } from '../host/clock.ts';
import { unless } from './ports.ts';

/**
 * A token bucket in bytes. A request body cannot be slowed down (a streamed one has no length, which
 * S3 demands), so a part waits until the time of the parts before it has passed.
 */
export class Pace {
  readonly #clock: Clock;
  /** `Infinity` is no limit. */
  #bytesPerMs = Number.POSITIVE_INFINITY;
  /** When the bytes that have gone are paid for (ms). */
  #freeAt = 0;
  #waiters: { bytes: number; go: () => void }[] = [];
  #cancelTimer = () => {};

  constructor(clock: Clock, bytesPerSec: number | null) {
    this.#clock = clock;
    this.limit(bytesPerSec);
  }

  get limited(): boolean {
    return this.#bytesPerMs < Number.POSITIVE_INFINITY;
  }

  /** Changes the limit at once: what is owed is paid at the new rate. */
  limit(bytesPerSec: number | null): void {
    const now = this.#clock.now();
    const owed = this.limited ? Math.max(0, this.#freeAt - now) * this.#bytesPerMs : 0;
    this.#bytesPerMs = bytesPerSec && bytesPerSec > 0 ? bytesPerSec / 1_000 : Number.POSITIVE_INFINITY;
    this.#freeAt = now + owed / this.#bytesPerMs;
    this.#pump();
  }

  /** Resolves when these bytes may go; first come, first served. */
  async take(bytes: number, signal: AbortSignal): Promise<void> {
    const waiter = { bytes, go: () => {} };
    const turn = new Promise<void>((go) => {
      waiter.go = go;
    });
    signal.throwIfAborted();
    this.#waiters.push(waiter);
    this.#pump();
    try {
      await unless(signal, turn);
    } catch (error) {
      this.#waiters = this.#waiters.filter((other) => other !== waiter);
      this.#pump();
      throw error;
    }
  }

  #pump(): void {
    this.#cancelTimer();
    for (let next = this.#waiters[0]; next; next = this.#waiters[0]) {
      const now = this.#clock.now();
      if (this.#freeAt > now) {
        this.#cancelTimer = this.#clock.after(this.#freeAt - now, () => this.#pump());
        return;
      }
      this.#freeAt = now + next.bytes / this.#bytesPerMs;
      this.#waiters.shift();
      next.go();
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
    if (this.#free > 0) this.#free -= 1;
    else {
      let go = () => {};
      const turn = new Promise<void>((resolve) => {
        go = resolve;
        this.#waiting.push(go);
      });
      try {
        await unless(signal, turn);
      } catch (error) {
        // Its turn may have come in the same moment.
        if (!this.#waiting.includes(go)) this.#release();
        this.#waiting = this.#waiting.filter((other) => other !== go);
        throw error;
      }
    }
    return () => this.#release();
  }

  #release(): void {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#free += 1;
  }
}
