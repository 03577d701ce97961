/** Time and chance as an argument, so that tests decide both. */

export interface Clock {
  now(): number;
  /** Runs `f` after `ms`; the returned function cancels it. */
  after(ms: number, f: () => void): () => void;
  random(): number;
}

/** A longer timer would fire at once (ms). */
export const MAX_TIMER_MS = 2 ** 31 - 1;

export const realClock: Clock = {
  now: () => Date.now(),
  after(ms, f) {
    const timer = setTimeout(f, Math.min(ms, MAX_TIMER_MS));
    return () => clearTimeout(timer);
  },
  random: () => Math.random(),
};

export const sleep = (clock: Clock, ms: number): Promise<void> =>
  new Promise((done) => {
    clock.after(ms, done);
  });

export const hex = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');

/** An id that is unique for all practical purposes; `randomUUID` is missing in pages without TLS. */
export const newId = (): string => hex(crypto.getRandomValues(new Uint8Array(16)));
