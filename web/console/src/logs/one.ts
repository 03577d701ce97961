// One record by its time and id, with its neighbours.

import { type Client, Problem } from '../api.ts';
import type { LogRecord } from '../types.ts';

/** Where a record is, as links have it. */
export interface Place {
  ms: number;
  id: string;
  /** Its app, where records of all apps are shown. */
  app?: string;
}

/** A record and its neighbours; on both sides the nearest comes first. */
export interface Neighbourhood {
  record: LogRecord;
  older: LogRecord[];
  newer: LogRecord[];
}

/** Finds a record; undefined if it is not there or no longer there. */
export async function find(
  client: Client,
  app: string | undefined,
  { ms, id }: Place,
  params: { neighbours?: number; raw?: true },
  signal: AbortSignal,
): Promise<Neighbourhood | undefined> {
  const path = `logs/${encodeURIComponent(id)}`;
  try {
    return await client.get<Neighbourhood>(path, { app_id: app, at: ms, ...params }, signal);
  } catch (error) {
    if (error instanceof Problem && error.status === 404) return undefined;
    throw error;
  }
}

/** The place of a record in the URL. */
export function placeOf(ms: number, { id, app_id }: LogRecord): string {
  return app_id === undefined ? `${ms}~${id}` : `${ms}~${id}~${app_id}`;
}

/** Reads what {@link placeOf} wrote. */
export function place(text: string): Place | undefined {
  const [ms = '', id = '', app] = text.split('~');
  if (!/^\d{1,15}$/.test(ms) || !id) return undefined;
  return { ms: Number(ms), id, ...(app && { app }) };
}
