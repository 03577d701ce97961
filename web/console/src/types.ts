// What the API answers, as far as the console reads it (functions/api/openapi.json).

import type { Exact } from './exact.ts';

export const LEVELS = ['DEBUG', 'INFO', 'WARN', 'ERROR'] as const;
export type Level = (typeof LEVELS)[number];

export type Json = null | boolean | number | Exact | string | Json[] | { [key: string]: Json };

export interface LogRecord {
  id: string;
  app_id?: string;
  timestamp: string;
  level: Level;
  message: string;
  request_id?: string;
  context?: Json;
  fields?: Json;
  rawData?: Json;
  [member: string]: Json | undefined;
}

export interface Page<T> {
  data: T[];
  cursor: string | null;
  skipped?: number;
  /** Of an answer in the order of arrival: whether more has arrived already. */
  more?: boolean;
}

export interface Key {
  key_id: string;
  name: string | null;
  scopes: string[];
  created_at: string | null;
}

export interface App {
  app_id: string;
  name: string;
  created_at: string;
  retention_days: number | null;
  pruned_before: string | null;
  flush: { enabled?: boolean; min_level?: Level };
  health_urls: Json[];
  keys: Key[];
}

export interface Day {
  date: string;
  debug: number;
  info: number;
  warn: number;
  error: number;
}

export type FileStatus = 'PENDING' | 'PROCESSING' | 'COMPLETED' | 'FAILED';

export interface LedgerFile {
  key: string;
  version: string | null;
  app_id: string | null;
  status: FileStatus;
  reason: { code: string; message: string } | null;
  counts: { ok: number; quarantined: number; pruned: number; bytes: number };
  kinds: { [kind: string]: number };
  warning: string | null;
  size: number | null;
  attempt: number;
  created_at: string;
  updated_at: string;
  processed_at: string | null;
}

export interface Quarantined {
  ordinal: number;
  last_ordinal: number;
  count: number;
  reason: string;
  start: number;
  end: number;
  sample: string;
}

export interface Uptime {
  window: '1h' | '24h' | '7d' | '30d';
  checks: number;
  ok: number;
  uptime: number | null;
  average_ms: number | null;
}

export interface CheckState {
  url: string;
  name: string | null;
  state: 'up' | 'down' | 'unknown';
  since: string | null;
  uptime: Uptime[];
}

export interface CheckResult {
  url: string;
  name?: string;
  status: number;
  latency_ms: number;
  ok: boolean;
  error: string | null;
  checked_at: string;
  skipped?: boolean;
  failed_conditions?: string[];
}

export interface Series {
  bucket_ms: number;
  buckets: { start: string; checks: number; ok: number; average_ms: number | null; max_ms: number | null }[];
}

export interface Upload {
  uploadId: string;
  key: string;
  filename: string;
  type: string;
  subject: string;
  status: string;
  size: number | null;
  created_at: string;
  expires_at: string;
  uploaded_bytes?: number;
  parts?: number;
}

export interface Usage {
  today: { from: string; bytes: number; records: number; files: number };
  month: { from: string; bytes: number; records: number; files: number };
}

export interface Counts {
  since: string;
  until: string;
  bucket_ms: number;
  buckets: { start: string; debug: number; info: number; warn: number; error: number }[];
  complete_from: string | null;
  skipped: number;
}

export interface Alert {
  name: string;
  filter: { [name: string]: string };
  threshold: number;
  window_minutes: number;
  quiet_minutes: number;
  notify: { sns?: boolean; webhook?: string };
  state: 'ok' | 'firing';
  since: string | null;
  history: {
    id: string;
    to: 'ok' | 'firing';
    at: string;
    window: { since: string; until: string; count: number } | null;
    samples: { id: string; timestamp: string; level: Level; message: string }[];
    notification: string;
    error?: string;
  }[];
}

/** Where copies of deleted records stay. */
export interface Remaining {
  place: string;
  name?: string;
  /** Null: until it is deleted. */
  until: string | null;
  note: string;
}

interface Erased {
  records: number;
  blocks: number;
  files: number;
  unreadable_blocks: number;
  remains: Remaining[];
}

export interface ErasurePreview extends Erased {
  complete: boolean;
}

export interface Erasure extends Erased {
  job_id: string;
  state: 'pending' | 'verifying' | 'complete';
  filter: { [name: string]: string };
  since: string;
  until: string;
  requested_at: string;
  completed_at: string | null;
}
