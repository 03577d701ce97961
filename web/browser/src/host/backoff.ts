/** How long to wait before the next try. Pure: randomness is an argument. */

export interface Backoff {
  /** The first delay's upper end (ms). */
  baseMs: number;
  /** The upper end that doubling stops at (ms). */
  maxMs: number;
  /** Number of failures in a row after which `rareMs` applies. */
  rareAfter: number;
  /** At least so long between rare tries (ms). */
  rareMs: number;
}

export function delayMs(backoff: Backoff, failures: number, random: () => number): number {
  const { baseMs, maxMs, rareAfter, rareMs } = backoff;
  if (failures >= rareAfter) return rareMs * (1 + random() / 5);
  return jitterMs(baseMs, maxMs, failures, random());
}

/** Full jitter: a uniform share of the doubled delay, so that many clients do not come at once. */
export function jitterMs(baseMs: number, maxMs: number, failures: number, random: number): number {
  const top = Math.min(maxMs, baseMs * 2 ** (failures - 1));
  return Math.max(1, Math.round(top * random));
}

/** `Retry-After` in ms: seconds or a date; `undefined` if absent or unreadable. */
export function retryAfterMs(value: string | null, nowMs: number): number | undefined {
  if (!value) return undefined;
  const secs = Number(value);
  if (Number.isFinite(secs)) return Math.max(0, secs * 1000);
  const at = Date.parse(value);
  return Number.isNaN(at) ? undefined : Math.max(0, at - nowMs);
}
