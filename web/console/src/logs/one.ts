// One record by its time and id.

import type { Client, Params } from '../api.ts';
import type { LogRecord } from '../types.ts';

const PAGE = 1_000;
/** Pages of records of the same millisecond. */
const MAX_PAGES = 20;

/** Finds a record among those of its millisecond, with its stored entry. */
export async function findRaw(
  client: Client,
  app: string | undefined,
  ms: number,
  id: string,
  signal: AbortSignal,
) {
  const params: Params = { app_id: app, since: ms, until: ms + 1, raw: true, limit: PAGE };
  for (let n = 0; n < MAX_PAGES; n++) {
    const page = await client.list<LogRecord>('logs', params, signal);
    const found = page.data.find((record) => record.id === id);
    if (found || page.cursor === null) return found;
    params.cursor = page.cursor;
  }
  return undefined;
}

/** The place of a record in the URL. */
export const placeOf = (ms: number, id: string) => `${ms}~${id}`;

/** Reads what {@link placeOf} wrote. */
export function place(text: string): { ms: number; id: string } | undefined {
  const [ms = '', id = ''] = text.split('~');
  return /^\d{1,15}$/.test(ms) && id ? { ms: Number(ms), id } : undefined;
}
