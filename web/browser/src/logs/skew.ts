/** A browser's clock may be wrong by years. The service's clock is in the key that it grants: a ULID starts with its time. */

import { dateOf, line } from './format.ts';

/** Less than this counts as right: a grant takes time, and clocks of machines differ (ms). */
const TOLERANCE_MS = 60_000;

const DIGITS = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
/** Characters of a ULID that hold its time. */
const TIME_CHARS = 10;

/** How much a clock is fast, by a key that was granted between `sentMs` and `answeredMs` of it; 0 if it is right. */
export function skewOf(key: string, sentMs: number, answeredMs: number): number {
  const ulid = /(?:^|\/)([0-7][0-9A-HJKMNP-TV-Z]{25})-[^/]*$/.exec(key)?.[1];
  if (!ulid) return 0;
  let grantedMs = 0;
  for (const digit of ulid.slice(0, TIME_CHARS)) grantedMs = grantedMs * 32 + DIGITS.indexOf(digit);
  const [fast, slow] = [sentMs - grantedMs, grantedMs - answeredMs];
  if (fast <= TOLERANCE_MS && slow <= TOLERANCE_MS) return 0;
  return Math.round((sentMs + answeredMs) / 2 - grantedMs);
}

/** The lines of a file with the service's time; JSON keeps the browser's as `clientTime`. The last line tells of it. */
export function corrected(text: string, skewMs: number, nowMs: number): string {
  const isJson = text.startsWith('{');
  const lines = isJson
    ? text.replace(/^\{"time":(\d+)/gm, (_, ms) => `{"time":${Number(ms) - skewMs},"clientTime":${ms}`)
    : text.replace(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z(?= \[)/gm, (iso) =>
        dateOf(Date.parse(iso) - skewMs).toISOString(),
      );
  const secs = Math.round(Math.abs(skewMs) / 1_000);
  const message = `logferry: the browser's clock is ${secs} s ${skewMs > 0 ? 'fast' : 'slow'}; times are corrected`;
  const report = { time: nowMs - skewMs, level: 'WARN', message } as const;
  return `${lines}${line(report, isJson ? 'ndjson' : 'text', 4_096, null)}\n`;
}
