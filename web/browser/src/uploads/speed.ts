/** How far an upload is, how fast it goes, and how often its page is notified. */

import type { Clock } from '../host/clock.ts';

/** Speed is the mean over this time (ms). */
const WINDOW_MS = 15_000;
/** No estimate before this much is known (ms). */
const SETTLE_MS = 1_000;
/** At most ten messages a second and upload (ms). */
const MESSAGE_MS = 100;

export class Speed {
  #samples: { at: number; bytes: number }[] = [];

  /** Forgets the past: after a pause it says nothing about the future. */
  reset(): void {
    this.#samples = [];
  }

  /** `bytes`: what is uploaded in all by now. */
  add(at: number, bytes: number): void {
    const samples = this.#samples;
    const last = samples.at(-1);
    if (last && at - last.at < MESSAGE_MS / 2 && samples.length > 1) last.bytes = bytes;
    else samples.push({ at, bytes });
    while (samples[2] && at - (samples[1]?.at ?? at) >= WINDOW_MS) samples.shift();
  }

  /** Bytes per second; `undefined` in the first second. */
  bytesPerSec(now: number): number | undefined {
    const [first] = this.#samples;
    const ms = now - (first?.at ?? now);
    if (!first || ms < SETTLE_MS) return undefined;
    const bytes = (this.#samples.at(-1)?.bytes ?? 0) - first.bytes;
    return Math.max(0, Math.round((bytes * 1_000) / ms));
  }

  secondsFor(bytes: number, now: number): number | undefined {
    const speed = this.bytesPerSec(now);
    return speed ? Math.round((bytes / speed) * 10) / 10 : undefined;
  }
}

/** The bytes of one session. */
export class Position {
  readonly #totalBytes: number;
  #doneBytes = 0;
  #underWay = new Map<number, number>();
  #highest: number;

  constructor(totalBytes: number, progress: number) {
    this.#totalBytes = totalBytes;
    this.#highest = progress;
  }

  /** What S3 has, when a run begins. */
  there(bytes: number): void {
    this.#doneBytes = bytes;
    this.#underWay.clear();
  }

  /** A part's own bytes; 0 when its try has failed. */
  sent(part: number, bytes: number): void {
    this.#underWay.set(part, bytes);
  }

  done(part: number, bytes: number): void {
    this.#underWay.delete(part);
    this.#doneBytes += bytes;
  }

  get uploadedBytes(): number {
    let bytes = this.#doneBytes;
    for (const sent of this.#underWay.values()) bytes += sent;
    return Math.min(bytes, this.#totalBytes);
  }

  /** Percent with one decimal. It never falls, and 100 is for what is completed. */
  get progress(): number {
    const percent = Math.floor((this.uploadedBytes / this.#totalBytes) * 1_000) / 10;
    this.#highest = Math.max(this.#highest, Math.min(percent, 99.9));
    return this.#highest;
  }
}

/** Lets at most one call in 100 ms through; the last one always goes. */
export class Throttle {
  readonly #clock: Clock;
  readonly #tell: () => void;
  #lastAt = 0;
  #cancel: (() => void) | undefined;

  constructor(clock: Clock, tell: () => void) {
    this.#clock = clock;
    this.#tell = tell;
  }

  touch(): void {
    const wait = this.#lastAt + MESSAGE_MS - this.#clock.now();
    if (wait <= 0) this.#now();
    else this.#cancel ??= this.#clock.after(wait, () => this.#now());
  }

  /** Drops what waits. */
  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  #now(): void {
    this.stop();
    this.#lastAt = this.#clock.now();
    this.#tell();
  }
}
