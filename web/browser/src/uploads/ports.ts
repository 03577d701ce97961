/**
 * What the upload core needs from its surroundings. The cores read no clock, network or storage of
 * the browser themselves, so the tests of Node run them as they are.
 */

import { type Clock, sleep as sleepOut } from '../host/clock.ts';

export interface Reply {
  status: number;
  /** The parsed JSON, or `undefined`. */
  body: unknown;
  retryAfterMs?: number | undefined;
}

/**
 * Sends to the API with the caller's credential. Rejects with `Unreachable` if no answer came, and sends
 * nothing once `signal` has aborted.
 */
export type Send = (method: string, path: string, body?: unknown, signal?: AbortSignal) => Promise<Reply>;

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
  /** Waits for the lock. */
  hold(name: string): Promise<() => void>;
}

/** Messages to the upload workers of other tabs. */
export type Channel = Pick<BroadcastChannel, 'postMessage'> & {
  onmessage: ((event: { data: unknown }) => void) | null;
};

/** As `work`, but rejects with the signal's reason as soon as it aborts; the work goes on unseen. */
export function unless<T>(signal: AbortSignal | undefined, work: Promise<T>): Promise<T> {
  if (!signal) return work;
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort);
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}

/** Resolves after `ms`; rejects with the signal's reason when it aborts. */
export const sleep = (clock: Clock, ms: number, signal: AbortSignal): Promise<void> =>
  unless(signal, sleepOut(clock, ms));
