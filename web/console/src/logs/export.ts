// Records as NDJSON or CSV, page by page.

import { type Client, type Params, problemOf } from '../api.ts';
import { write } from '../exact.ts';
import type { LogRecord } from '../types.ts';

export type Format = 'ndjson' | 'csv';

export const MAX_RECORDS = 100_000;
const PAGE = 1_000;
/** Attempts at a page when the API asks to slow down. */
const MAX_ATTEMPTS = 5;

export interface Export {
  parts: string[];
  /** Whether the filters find no more. */
  complete: boolean;
  /** Blocks that the API could not read. */
  skipped: number;
}

/** Reads pages until the end or the limit. A page is one part of the file, so that no large text is built. */
export async function fetchAll(
  client: Client,
  params: Params,
  format: Format,
  progress: (records: number) => void,
  signal: AbortSignal,
): Promise<Export> {
  const parts = format === 'csv' ? [`${COLUMNS.join(',')}\r\n`] : [];
  let cursor: string | undefined;
  let skipped = 0;
  for (let got = 0; got < MAX_RECORDS; ) {
    const limit = Math.min(PAGE, MAX_RECORDS - got);
    const page = await patiently(
      () => client.list<LogRecord>('logs', { ...params, limit, cursor }, signal),
      signal,
    );
    parts.push(page.data.map((record) => (format === 'csv' ? row(record) : `${write(record)}\n`)).join(''));
    got += page.data.length;
    skipped += page.skipped ?? 0;
    progress(got);
    if (page.cursor === null) return { parts, complete: true, skipped };
    cursor = page.cursor;
  }
  return { parts, complete: false, skipped };
}

/** Waits where the API says for how long. */
async function patiently<T>(ask: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await ask();
    } catch (error) {
      const { retryAfterSecs } = problemOf(error);
      if (signal.aborted || retryAfterSecs === undefined || attempt === MAX_ATTEMPTS) throw error;
      await new Promise((done) => setTimeout(done, retryAfterSecs * 1_000));
    }
  }
}

const COLUMNS = ['timestamp', 'level', 'app_id', 'message', 'request_id', 'context', 'id'];

export function row(record: LogRecord): string {
  const cells = COLUMNS.map((name) => {
    const value = record[name];
    if (value === undefined || value === null) return '';
    return cell(typeof value === 'string' ? value : write(value));
  });
  return `${cells.join(',')}\r\n`;
}

/** A text that a spreadsheet would run as a formula begins with an apostrophe. */
function cell(text: string): string {
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
