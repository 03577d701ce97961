/** What a caller may set, and what the worker gets of it. */

import type { HostChoice } from '../host/host.ts';
import type { TokenReason } from './api.ts';
import { DEFAULT_UPLOAD_CONFIG, type UploadSettings } from './protocol.ts';

export interface UploadsOptions {
  /** The base URL of the API. */
  endpoint: string;
  /** Gets an upload token from the app's own server; `null` if the user may not upload. */
  getToken: (why: { reason: TokenReason }) => string | null | Promise<string | null>;
  /** The user, where several use one browser: each sees the own uploads. */
  scope?: string;
  /** Parts at once per upload (3). */
  parallel?: number;
  /** The same under its first name. */
  maxConcurrentChunks?: number;
  /** Uploads at once (1). */
  maxActive?: number;
  /** Tries per part after the first (5). */
  maxRetries?: number;
  /** The first pause between tries (500 ms). */
  retryDelay?: number;
  /** Bytes; from 5 MiB. The service chooses by default. */
  chunkSize?: number;
  bytesPerSec?: number | null;
  /** Files up to this size are copied into IndexedDB, so that a restart does not ask for them (50 MiB). */
  keepCopiesUpTo?: number;
  /** As the `accept` attribute: `video/*,.mp4`. */
  accept?: string;
  maxBytes?: number;
  /** Interrupted uploads run again by themselves where their file is at hand (true). */
  autoResume?: boolean;
  /** The worker's script, or a function that starts it. */
  worker?: string | URL | (() => Worker | SharedWorker);
  host?: HostChoice;
}

/** The settings of the worker, from the options that reach it. The first page of a worker decides for the later ones. */
export function settingsOf(options: Omit<UploadsOptions, 'getToken'>): UploadSettings {
  const all = { ...DEFAULT_UPLOAD_CONFIG, scope: '', ...options };
  return {
    ...all,
    parallel: Math.max(1, all.parallel ?? all.maxConcurrentChunks),
    retryDelayMs: all.retryDelay,
  };
}
