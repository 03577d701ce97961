/**
 * Lines that a page may send itself as a form when it closes. One record per tab tells which; the rows stay as
 * they are. While the record is there no host sends these lines.
 */

import type { Clock } from '../host/clock.ts';
import type { Delivery } from './delivery.ts';
import type { Primary } from './spool.ts';
import type { Row } from './store.ts';

/** How long after its end a form may still be stored (ms). */
const LATE_MS = 60_000;

export interface Held {
  tab: string;
  scope: string;
  /** The form's key. While the record is there, nothing but the form is stored under it. */
  key: string;
  /** The form has every group of the tab from this one on. */
  from: number;
  /** When the form ends (ms). */
  until: number;
  /** The page's visit that the form is for. */
  visit: number;
}

export const isHeld = (row: Row, held: Held[]): boolean =>
  held.some(({ tab, scope, from }) => row.tab === tab && row.scope === scope && (row.first ?? 0) >= from);

/** The first group that a form can have, of a tab's rows in order: its lines are all there. */
export const firstWhole = (rows: Row[]): number | undefined =>
  rows.find(({ first, rest }) => first !== undefined && !rest)?.first;

/**
 * Finds out what became of the forms of pages that are gone. Those that have arrived take their lines out of
 * the store; those that cannot arrive any more set them free. Returns when to look again, if there are others (ms).
 */
export async function settle(
  store: Primary,
  scope: string,
  delivery: Delivery,
  clock: Clock,
  isHere: (key: string) => boolean,
): Promise<number | undefined> {
  let next: number | undefined;
  for (const held of await store.held(scope)) {
    if (isHere(held.key)) continue;
    const end = held.until + LATE_MS;
    // Before the question: what arrives after it is late.
    const ended = clock.now() >= end;
    if ((await delivery.status(held.key))?.received) await store.arrived(held, clock.now());
    else if (ended) await store.release(held.tab, ({ key }) => key === held.key);
    else next = Math.min(next ?? end, end);
  }
  return next;
}
