/**
 * What the upload core needs from its surroundings. The cores read no clock, network or storage of
 * the browser themselves, so the tests of Node run them as they are.
 */

import type { Clock } from '../host/clock.ts';

export interface Reply {
  status: number;
  /** The parsed JSON, or `undefined`. */
  body: unknown;
  retryAfterMs?: number | undefined;
}

/** The API. */
export interface Http {
  /** Sends with the caller's credential. Rejects with `Unreachable` if no answer came. */
  send(method: string, path: string, body?: unknown): Promise<Reply>;
}

export interface PartPut {
  url: string;
  body: Blob;
  signal: AbortSignal;
  /** Bytes of this part that have been sent so far. */
  onSent(bytes: number): void;
}

export interface PartAnswer {
  status: number;
  etag: string | null;
  retryAfterMs?: number | undefined;
}

/** Puts one part. Rejects with `Unreachable` if no answer came. */
export type PutPart = (put: PartPut) => Promise<PartAnswer>;

export interface Network {
  online(): boolean;
  /** Calls `run` at every return of the network; the result stops it. */
  onOnline(run: () => void): () => void;
}

export interface Locks {
  /** Takes the lock if it is free: the result releases it, or `null`. */
  tryHold(name: string): Promise<(() => void) | null>;
  /** Waits for the lock. Rejects when `signal` aborts. */
  hold(name: string, signal: AbortSignal): Promise<() => void>;
}

/** Resolves after `ms`; rejects with the signal's reason when it aborts. */
export function sleep(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const abort = () => {
      cancel();
      reject(signal.reason);
    };
    const cancel = clock.after(ms, () => {
      signal.removeEventListener('abort', abort);
      resolve();
    });
    signal.addEventListener('abort', abort, { once: true });
  });
}

/** As `work`, but rejects with the signal's reason as soon as it aborts; the work goes on unseen. */
export function unless<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}

/** Aborts with the first of both. `AbortSignal.any` is missing in Firefox 115 and Safari 16. */
export function either(one: AbortSignal, other: AbortSignal): AbortSignal {
  const both = new AbortController();
  for (const signal of [one, other]) {
    if (signal.aborted) both.abort(signal.reason);
    else signal.addEventListener('abort', () => both.abort(signal.reason), { once: true });
  }
  return both.signal;
}
