// Times as people read them, and ranges of time as the URL holds them.

export const MINUTE_MS = 60_000;
export const HOUR_MS = 60 * MINUTE_MS;
export const DAY_MS = 24 * HOUR_MS;

const UNITS: Record<string, number> = { m: MINUTE_MS, h: HOUR_MS, d: DAY_MS };

/** A range: back from now (`15m`, `24h`, `7d`), or between two times; without either, everything. */
export interface Range {
  last?: string;
  since?: number;
  until?: number;
}

export function durationMs(text: string): number | undefined {
  const match = /^(\d{1,4})([mhd])$/.exec(text);
  const unit = match?.[2] && UNITS[match[2]];
  return unit ? Number(match[1]) * unit : undefined;
}

/** The bounds of a range (ms): `since` included, `until` excluded. */
export function bounds(range: Range, now: number): { since?: number; until?: number } {
  if (range.last === undefined) {
    const found: { since?: number; until?: number } = {};
    if (range.since !== undefined) found.since = range.since;
    if (range.until !== undefined) found.until = range.until;
    return found;
  }
  const back = durationMs(range.last);
  return back === undefined ? {} : { since: now - back };
}

const two = (n: number) => String(n).padStart(2, '0');

interface Parts {
  date: string;
  time: string;
  ms: string;
}

export function parts(ms: number, utc: boolean): Parts {
  const at = new Date(utc ? ms : ms - new Date(ms).getTimezoneOffset() * MINUTE_MS);
  const text = Number.isNaN(at.getTime()) ? '' : at.toISOString();
  return { date: text.slice(0, 10), time: text.slice(11, 19), ms: text.slice(20, 23) };
}

/** `2026-03-01 12:00:00.123`, in local time or UTC. */
export function full(ms: number, utc: boolean): string {
  const { date, time, ms: fraction } = parts(ms, utc);
  return `${date} ${time}.${fraction}`;
}

/** `3 min ago` */
export function ago(ms: number, now: number): string {
  const past = Math.max(0, now - ms);
  if (past < 5_000) return 'just now';
  if (past < MINUTE_MS) return `${Math.floor(past / 1_000)} s ago`;
  if (past < HOUR_MS) return `${Math.floor(past / MINUTE_MS)} min ago`;
  if (past < 2 * DAY_MS) return `${Math.floor(past / HOUR_MS)} h ago`;
  return `${Math.floor(past / DAY_MS)} days ago`;
}

export function describe(range: Range, utc: boolean): string {
  if (range.last !== undefined) {
    const [, n, unit] = /^(\d+)([mhd])$/.exec(range.last) ?? [];
    const names: Record<string, string> = { m: 'minute', h: 'hour', d: 'day' };
    return `Last ${n} ${names[unit ?? 'm']}${n === '1' ? '' : 's'}`;
  }
  if (range.since === undefined && range.until === undefined) return 'All time';
  const show = (ms: number | undefined, open: string) => {
    if (ms === undefined) return open;
    const { date, time } = parts(ms, utc);
    return `${date.slice(5)} ${time}`;
  };
  return `${show(range.since, 'beginning')} – ${show(range.until, 'now')}`;
}

/** The value of an `<input type="datetime-local">`, with seconds. */
export function toInput(ms: number | undefined, utc: boolean): string {
  if (ms === undefined) return '';
  const { date, time } = parts(ms, utc);
  return `${date}T${time}`;
}

export function fromInput(text: string, utc: boolean): number | undefined {
  if (!text) return undefined;
  const [date = '', time = '00:00'] = text.split('T');
  const ms = Date.parse(`${date}T${time.length === 5 ? `${time}:00` : time}${utc ? 'Z' : ''}`);
  return Number.isNaN(ms) ? undefined : ms;
}

export function seconds(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  return `${(ms / 1_000).toFixed(ms < 10_000 ? 1 : 0)} s`;
}

export const zone = (utc: boolean): string => {
  if (utc) return 'UTC';
  const minutes = -new Date().getTimezoneOffset();
  if (minutes === 0) return 'UTC';
  return `UTC${minutes < 0 ? '−' : '+'}${two(Math.floor(Math.abs(minutes) / 60))}:${two(Math.abs(minutes) % 60)}`;
};
