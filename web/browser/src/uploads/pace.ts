/** How fast: a limit that all uploads of a worker share, and how many parts are under way at once. */

import type { Clock } from '../host/clock.ts';

interface Waiter {
  bytes: number;
  go: () => void;
}

/**
 * A token bucket in bytes. A request body cannot be slowed down (a streamed one has no length, which
 * S3 demands), so a part waits until the time of the parts before it has passed.
 */
export class Pace {
  readonly #clock: Clock;
  #bytesPerSec: number | null;
  /** When the bytes that have gone are paid for (ms). */
  #freeAt = 0;
  #waiters: Waiter[] = [];
  #cancelTimer: (() => void) | undefined;

  constructor(clock: Clock, bytesPerSec: number | null) {
    this.#clock = clock;
    this.#bytesPerSec = positive(bytesPerSec);
  }

  get limited(): boolean {
    return this.#bytesPerSec !== null;
  }

  get bytesPerSec(): number | null {
    return this.#bytesPerSec;
  }

  /** Changes the limit at once: what is owed is paid at the new rate. */
  limit(bytesPerSec: number | null): void {
    const now = this.#clock.now();
    const owed =
      this.#bytesPerSec === null ? 0 : (Math.max(0, this.#freeAt - now) * this.#bytesPerSec) / 1000;
    this.#bytesPerSec = positive(bytesPerSec);
    this.#freeAt = this.#bytesPerSec === null ? now : now + (owed / this.#bytesPerSec) * 1000;
    this.#pump();
  }

  /** Resolves when these bytes may go; first come, first served. */
  take(bytes: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      const abort = () => {
        this.#waiters = this.#waiters.filter((other) => other !== waiter);
        reject(signal.reason);
        this.#pump();
      };
      const waiter: Waiter = {
        bytes,
        go: () => {
          signal.removeEventListener('abort', abort);
          resolve();
        },
      };
      signal.addEventListener('abort', abort, { once: true });
      this.#waiters.push(waiter);
      this.#pump();
    });
  }

  #pump(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    for (let next = this.#waiters[0]; next; next = this.#waiters[0]) {
      const now = this.#clock.now();
      if (this.#bytesPerSec !== null) {
        if (this.#freeAt > now) {
          this.#cancelTimer = this.#clock.after(this.#freeAt - now, () => this.#pump());
          return;
        }
        this.#freeAt = now + (next.bytes / this.#bytesPerSec) * 1000;
      }
      this.#waiters.shift();
      next.go();
    }
  }
}

function positive(bytesPerSec: number | null): number | null {
  return bytesPerSec === null || !(bytesPerSec > 0) ? null : bytesPerSec;
}

/** A limited number at once, first come, first served. */
export class Slots {
  #free: number;
  #waiting: Array<() => void> = [];

  constructor(slots: number) {
    this.#free = slots;
  }

  /** The result frees the slot. */
  take(signal: AbortSignal): Promise<() => void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      const abort = () => {
        this.#waiting = this.#waiting.filter((other) => other !== go);
        reject(signal.reason);
      };
      const go = () => {
        signal.removeEventListener('abort', abort);
        resolve(() => this.#release());
      };
      if (this.#free > 0) {
        this.#free -= 1;
        return go();
      }
      signal.addEventListener('abort', abort, { once: true });
      this.#waiting.push(go);
    });
  }

  #release(): void {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#free += 1;
  }
}
