/** The records of [`Held`] lines in the database. */

import type { Held } from './held.ts';
import { firstWhole, isHeld } from './held.ts';
import type { Tx } from './idb-schema.ts';
import type { Row } from './store.ts';

/** Holds a tab's rows of a scope and what the tab logs from now on; `undefined` if there is none, or a form already. */
export async function hold(tx: Tx, what: Omit<Held, 'from'>): Promise<number | undefined> {
  const other = await tx.meta<Held>(`held:${what.tab}`);
  // Its own after a reopened connection: the first try got through.
  if (other) return other.key === what.key ? other.from : undefined;
  const rows: Row[] = [];
  await tx.rows(what.scope, (row) => {
    if (row.tab === what.tab) rows.push(row);
  });
  const from = firstWhole(rows);
  if (from !== undefined) tx.putMeta(`held:${what.tab}`, { ...what, from });
  return from;
}

export async function release(
  tx: Tx,
  tab: string,
  which: (held: Held) => boolean,
): Promise<Held | undefined> {
  const held = await tx.meta<Held>(`held:${tab}`);
  if (!held || !which(held)) return undefined;
  tx.store('meta').delete(`held:${tab}`);
  return held;
}

export async function arrived(tx: Tx, held: Held, nowMs: number): Promise<void> {
  if (!(await release(tx, held.tab, ({ key }) => key === held.key))) return;
  const usage = await tx.usage(held.scope);
  await tx.rows(held.scope, (row, at) => {
    if (!isHeld(row, [held])) return;
    usage.entries -= row.n;
    usage.bytes -= row.bytes;
    at.delete();
  });
  tx.putUsage(held.scope, usage);
  // Copies of these lines may still be handed over.
  tx.putMeta(`tab:${held.tab}`, { upTo: Number.MAX_SAFE_INTEGER, at: nowMs });
}
