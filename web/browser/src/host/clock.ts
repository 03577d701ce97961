/** Time and chance as an argument, so that tests decide both. */

export interface Clock {
  now(): number;
  /** Runs `f` after `ms`; the returned function cancels it. */
  after(ms: number, f: () => void): () => void;
  random(): number;
}

export const realClock: Clock = {
  now: () => Date.now(),
  after(ms, f) {
    const timer = setTimeout(f, ms);
    return () => clearTimeout(timer);
  },
  random: () => Math.random(),
};

export const sleep = (clock: Clock, ms: number): Promise<void> =>
  new Promise((done) => {
    clock.after(ms, done);
  });

/** An id that is unique for all practical purposes, in browsers without `randomUUID` too. */
export function newId(random: () => number = Math.random): string {
  const bytes = new Uint8Array(16);
  if (typeof crypto === 'undefined') for (let at = 0; at < bytes.length; at += 1) bytes[at] = random() * 256;
  else crypto.getRandomValues(bytes);
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
