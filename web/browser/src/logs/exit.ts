/**
 * Lines that a closing page could not hand over. `localStorage` is written before the call returns, which
 * nothing else in a page does; the next page posts the copy again, and the host skips what it has.
 */

import type { Message } from '../host/port.ts';
import type { Group } from './store.ts';
import type { Format } from './types.ts';

const PREFIX = 'logferry-exit:';
/** The most that is kept (characters): 5 MiB is what a page of the origin may store in all. */
const MAX_CHARS = 500_000;
/** Older copies are not posted any more (ms). */
const MAX_AGE_MS = 7 * 86_400_000;

/** The groups of one scope. */
export interface Kept {
  scope: string;
  format: Format;
  groups: Group[];
}

/** How a page has ended. */
export interface Over {
  /** Forms up to this visit are never sent any more. */
  visit: number;
  /** The key of the one that was. */
  sent?: string | undefined;
}

interface Copy {
  at: number;
  kept: Kept[];
  over?: Over | undefined;
}

/** Writes the copy of a tab; with nothing to say it is removed. The newest lines are kept, the others counted. */
export function saveExit(tab: string, kept: Kept[], nowMs: number, over?: Over): void {
  try {
    if (!over && !kept.some(({ groups }) => groups.length)) return localStorage.removeItem(PREFIX + tab);
    const copy: Copy = { at: nowMs, kept: fitting(kept, MAX_CHARS), over };
    localStorage.setItem(PREFIX + tab, JSON.stringify(copy));
  } catch {
    // No storage, or none left: the worker has the lines if it got them.
  }
}

/** The messages that hand over the copies of earlier pages, per tab. */
export function readExits(own: string, nowMs: number): Map<string, Message[]> {
  const found = new Map<string, Message[]>();
  try {
    for (const key of Object.keys(localStorage)) {
      const tab = key.slice(PREFIX.length);
      if (!key.startsWith(PREFIX) || tab === own) continue;
      try {
        const copy: Copy = JSON.parse(localStorage.getItem(key) ?? '');
        if (copy.at >= nowMs - MAX_AGE_MS) {
          found.set(tab, messages(tab, copy));
          continue;
        }
      } catch {
        // A copy that is none.
      }
      localStorage.removeItem(key);
    }
  } catch {
    // No storage.
  }
  return found;
}

export function removeExit(tab: string): void {
  saveExit(tab, [], 0);
}

function messages(tab: string, { kept, over }: Copy): Message[] {
  const lines = putLogs(tab, kept, true);
  return over
    ? [{ command: 'EXIT_FORM', tab, group: 0, over: over.visit, sent: over.sent }, ...lines]
    : lines;
}

/** The messages that hand over lines; with `again` those of another page, which are stored at once. */
export const putLogs = (tab: string, kept: Kept[], again: boolean): Message[] =>
  kept.flatMap(({ scope, format, groups }) =>
    groups.map(({ group, lines: entries, lost }) => ({
      command: 'PUT_LOGS',
      tab,
      group,
      entries,
      lost,
      scope,
      format,
      again,
    })),
  );

/** Cuts the oldest lines off until the rest fits into `room`; the oldest group of each scope says how many. */
export function fitting(kept: Kept[], room: number): Kept[] {
  const result: Kept[] = [];
  for (const { groups, ...of } of kept.toReversed()) {
    const fit: Required<Group>[] = [];
    for (const { group, lines, lost = 0 } of groups.toReversed()) {
      let from = lines.length;
      while (from > 0 && room >= (lines[from - 1]?.length ?? 0)) {
        from -= 1;
        room -= (lines[from]?.length ?? 0) + 4;
      }
      if (from > 0) room = 0;
      const oldest = fit.at(-1);
      if (from === lines.length && oldest) oldest.lost += lost + from;
      else fit.push({ group, lines: lines.slice(from), lost: lost + from });
    }
    result.push({ ...of, groups: fit.toReversed() });
  }
  return result.toReversed();
}
