/** What the log client keeps, as a port with two implementations: IndexedDB and memory. */

import { utf8Length } from './format.ts';
import type { DropReason, Format } from './types.ts';

/** Lines of one tab that were committed together. */
export interface Row {
  id?: number;
  scope: string;
  format: Format;
  tab: string;
  /** The first group of the page that lines come from, and the last. */
  first?: number;
  group: number;
  /** Its first lines are the rest of a group that begins in the row before. */
  rest?: boolean;
  n: number;
  bytes: number;
  /** When it was stored (ms). */
  at: number;
  /** Lines, each with its line break. */
  text: string;
}

export type StoredRow = Row & { id: number };

/** A sealed file on its way. Its bytes stay the same, and so does its key once it has one. */
export interface Batch {
  id: string;
  scope: string;
  n: number;
  /** Of the file. */
  bytes: number;
  at: number;
  state: 'ready' | 'refused';
  key?: string;
  url?: string;
  headers?: Record<string, string>;
  /** When the URL ends by this machine's clock (ms). */
  until?: number;
  /** When the last PUT without an answer ended, or ends at the latest: it may be stored (ms). */
  unsure?: number;
  /** URLs in a row that S3 refused while they were fresh. */
  refusals: number;
  /** Dropped lines that the file reports. */
  dropped: number;
  /** How much its times have been corrected, if a clock was wrong (ms). */
  skewMs?: number;
}

export interface Usage {
  entries: number;
  bytes: number;
  dropped: Partial<Record<DropReason, number>>;
}

/** A page's lines of one task, numbered in order. */
export interface Group {
  group: number;
  lines: string[];
  /** Lines of the group that the page had no room to keep. */
  lost?: number;
}

export interface Limits {
  maxEntries: number;
  maxBytes: number;
  maxAgeMs: number;
}

export interface Append {
  scope: string;
  format: Format;
  tab: string;
  groups: Group[];
  maxRowLines: number;
  nowMs: number;
}

/** Every method is one transaction. */
export interface Store {
  readonly kind: 'indexeddb' | 'memory';
  /** Stores the groups after the tab's last stored one, and skips the others. */
  append(what: Append): Promise<void>;
  /** The oldest rows of one format that no form may have, up to `maxBytes` but at least one. */
  rows(scope: string, maxBytes: number): Promise<StoredRow[]>;
  /** Replaces rows by a batch that also reports `dropped`; `false` if another tab was faster, or they are held. */
  seal(ids: number[], batch: Batch, data: ArrayBuffer, dropped: Usage['dropped']): Promise<boolean>;
  /** Oldest first. */
  batches(scope: string): Promise<Batch[]>;
  data(id: string): Promise<ArrayBuffer | undefined>;
  /** Changes a batch as it is now, with `data` its file too; the result is how it is afterwards, `undefined` if it is gone. */
  update(id: string, change: (batch: Batch) => Batch, data?: ArrayBuffer): Promise<Batch | undefined>;
  remove(id: string): Promise<void>;
  scopes(): Promise<string[]>;
  usage(scope: string): Promise<Usage>;
  /** Drops what is older than `olderThanMs`, then the oldest until the rest fits; returns how many lines. */
  drop(scope: string, entries: number, bytes: number, olderThanMs: number, why: DropReason): Promise<number>;
}

/** A row's text stays below this where its lines allow (bytes). */
export const ROW_BYTES = 64 * 1024;

/** The rows of groups: small enough that dropping whole rows does not drop much more than it must. */
export function rowsOf(what: Append, upTo: number): Row[] {
  const { scope, format, tab, nowMs: at } = what;
  const rows: Row[] = [];
  let text: string[] = [];
  let bytes = 0;
  let [first, last, rest] = [0, 0, false];
  const end = () => {
    if (text.length) {
      const row = { scope, format, tab, first, group: last, rest, n: text.length, bytes, at };
      rows.push({ ...row, text: `${text.join('\n')}\n` });
    }
    [text, bytes] = [[], 0];
  };
  for (const { group, lines } of what.groups) {
    if (group <= upTo) continue;
    for (const [at, line] of lines.entries()) {
      if (text.length >= what.maxRowLines || bytes >= ROW_BYTES) end();
      if (text.length === 0) [first, rest] = [group, at > 0];
      text.push(line);
      bytes += utf8Length(line) + 1;
      last = group;
    }
  }
  end();
  return rows;
}

/** Lines of groups after `upTo` that the page could not keep. */
export const lostOf = (groups: Group[], upTo: number): number =>
  groups.reduce((sum, { group, lost = 0 }) => sum + (group > upTo ? lost : 0), 0);

export const noUsage = (): Usage => ({ entries: 0, bytes: 0, dropped: {} });

export function addDropped(to: Usage['dropped'], more: Usage['dropped'], sign: 1 | -1 = 1): Usage['dropped'] {
  const sum = { ...to };
  for (const [why, n] of Object.entries(more) as [DropReason, number][]) {
    const now = (sum[why] ?? 0) + sign * n;
    if (now > 0) sum[why] = now;
    else delete sum[why];
  }
  return sum;
}

export const droppedTotal = (dropped: Usage['dropped']): number =>
  Object.values(dropped).reduce((sum, n) => sum + n, 0);

/**
 * What to drop so that the rest fits: the oldest first, those that may be in S3 already (they have a key)
 * only if nothing else is left. Too old ones always.
 */
export function toDrop<T extends { n: number; bytes: number; at: number; key?: string }>(
  oldestFirst: T[],
  usage: Usage,
  entries: number,
  bytes: number,
  olderThanMs: number,
): T[] {
  let { entries: leftEntries, bytes: leftBytes } = usage;
  const gone = new Set<T>();
  const take = (item: T) => {
    gone.add(item);
    leftEntries -= item.n;
    leftBytes -= item.bytes;
  };
  for (const item of oldestFirst) if (item.at < olderThanMs) take(item);
  for (const keyed of [false, true]) {
    for (const item of oldestFirst) {
      if (leftEntries <= entries && leftBytes <= bytes) break;
      if (!gone.has(item) && (item.key !== undefined) === keyed) take(item);
    }
  }
  return [...gone];
}
