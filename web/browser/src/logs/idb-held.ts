/** The records of [`Held`] lines in the database. */

import type { Held } from './held.ts';
import { firstWhole, isHeld } from './held.ts';
import { type Mark, quiet, readUsage, type Write, writeUsage } from './idb-schema.ts';
import type { Row } from './store.ts';

export const heldRange = (): IDBKeyRange => IDBKeyRange.bound('held:', 'held;');

/** Holds a tab's rows of a scope and what the tab logs from now on; `undefined` if there is none, or a form already. */
export async function hold(tx: Write, what: Omit<Held, 'from'>): Promise<number | undefined> {
  const meta = tx.objectStore('meta');
  const other = (await meta.get(`held:${what.tab}`)) as Held | undefined;
  // Its own after a reopened connection: the first try got through.
  if (other) return other.key === what.key ? other.from : undefined;
  const rows: Row[] = await tx.objectStore('rows').index('scope').getAll(what.scope);
  const from = firstWhole(rows.filter(({ tab }) => tab === what.tab));
  if (from !== undefined) quiet(meta.put({ ...what, from }, `held:${what.tab}`));
  return from;
}

export async function release(
  tx: Write,
  tab: string,
  which: (held: Held) => boolean,
): Promise<Held | undefined> {
  const meta = tx.objectStore('meta');
  const held = (await meta.get(`held:${tab}`)) as Held | undefined;
  if (!held || !which(held)) return undefined;
  quiet(meta.delete(`held:${tab}`));
  return held;
}

export async function arrived(tx: Write, held: Held, nowMs: number): Promise<void> {
  if (!(await release(tx, held.tab, ({ key }) => key === held.key))) return;
  const usage = await readUsage(tx, held.scope);
  const index = tx.objectStore('rows').index('scope');
  for (let at = await index.openCursor(held.scope); at; at = await at.continue()) {
    if (!isHeld(at.value, [held])) continue;
    usage.entries -= at.value.n;
    usage.bytes -= at.value.bytes;
    quiet(at.delete());
  }
  writeUsage(tx, held.scope, usage);
  // Copies of these lines may still be handed over.
  const all: Mark = { upTo: Number.MAX_SAFE_INTEGER, at: nowMs };
  quiet(tx.objectStore('meta').put(all, `tab:${held.tab}`));
}

/** Forgets forms that ended before. */
export async function forgetHeld(tx: Write, beforeMs: number): Promise<void> {
  const meta = tx.objectStore('meta');
  for (let at = await meta.openCursor(heldRange()); at; at = await at.continue()) {
    if ((at.value as Held).until < beforeMs) quiet(at.delete());
  }
}
