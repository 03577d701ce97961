/** What page and host say to each other, and what the application configures. */

import type { HostKind } from '../host/host.ts';
import type { LogferryError } from './error.ts';

export const LEVELS = ['DEBUG', 'INFO', 'WARN', 'ERROR'] as const;
export type Level = (typeof LEVELS)[number];
export type Format = 'ndjson' | 'text';

/** The meeting and attendee that a join token is for: they decide the object's key. */
export interface Scope {
  meetingId: string;
  attendeeId: string;
}

/** Names of fields and patterns that are redacted besides the built-in ones. */
export interface RedactOptions {
  names?: string[];
  patterns?: RegExp[];
}

/** `config` of `LOG_WORKER_INITIALIZE`: the original's fields, and ours. */
export interface WorkerConfig {
  presignedUrlEndpoint: string;
  meetingId: string;
  attendeeId: string;
  joinToken?: string;
  maxEntries?: number;
  maxBytes?: number;
  maxAgeMs?: number;
  maxEntryBytes?: number;
  autoUpload?: boolean;
  flushIntervalMs?: number;
  flushBytes?: number;
  format?: Format;
  redact?: boolean | RedactOptions;
  /** `false`: times stay as the browser's clock says, even if it is wrong. */
  correctClock?: boolean;
  /** The page's id. One that is absent belongs to a client that speaks the original protocol alone. */
  tab?: string;
}

/** A key that was written, and with `until: 'ingested'` what became of it. */
export interface LogFile {
  key: string;
  lines: number;
  status?: string;
  counts?: Record<string, number>;
}

/** What a flush did. */
export interface Summary {
  /** Lines that are now in S3, of earlier visits too. */
  uploaded: number;
  files: LogFile[];
  /** Lines that limits or a full disk have cost and that the uploaded files report. */
  dropped: number;
}

export interface Stats {
  host: 'shared' | 'dedicated' | 'main' | 'none';
  storage: 'indexeddb' | 'memory';
  /** Lines and bytes that wait, in rows and in sealed batches. */
  entries: number;
  bytes: number;
  batches: number;
  /** Batches that the service refuses; kept until the token or the configuration changes. */
  refused: number;
  /** Lines dropped that no file reports yet. */
  dropped: number;
  /** The last failure, if the last run failed. */
  error?: string;
  /** When the next try is due, if one is (ms from now). */
  retryInMs?: number;
}

export type DropReason = 'limit' | 'quota' | 'age' | 'exit';

/** Why lines are still here. */
export interface Failure {
  code: 'NETWORK' | 'SERVER' | 'THROTTLED' | 'AUTH_FAILED' | 'REFUSED' | 'PENDING' | 'STORAGE' | 'DEADLINE';
  message: string;
  /** Not to be retried sooner (ms). */
  afterMs?: number;
}

export type TokenCallback = (request: {
  scope: Scope;
  reason: 'start' | 'expired';
}) => Promise<string | null> | string | null;

export interface Events {
  status: (status: { host: HostKind | 'none'; storage: string }) => void;
  dropped: (dropped: { count: number; why: DropReason }) => void;
  error: (error: LogferryError) => void;
}

export interface FlushOptions {
  /** `ingested`: also wait until the service has read the files. */
  until?: 'stored' | 'ingested';
  /** When to give up waiting (ms): 30 s, with `ingested` 120 s. */
  timeoutMs?: number;
}

/** Longer entries are cut (bytes). */
export const MAX_ENTRY_BYTES = 256 * 1024;

/** Default limits. `S3Logger` has the original's. */
export const DEFAULTS = {
  maxEntries: 500,
  maxBytes: 50 * 1024 * 1024,
  maxAgeMs: 7 * 86_400_000,
  maxEntryBytes: MAX_ENTRY_BYTES,
  flushIntervalMs: 120_000,
  flushBytes: 1024 * 1024,
} as const;
