// When the live tail looks for new records, and when the histogram beside it counts again.

import { bounds, type Range } from '../time.ts';

/** Between looks while records come, and after a minute without any (ms). */
const BUSY_MS = 2_000;
const QUIET_MS = 10_000;
const QUIET_AFTER_MS = 60_000;
/** The tail stops after half an hour, because it may be forgotten (ms). */
const STOP_AFTER_MS = 30 * 60_000;

/** Counting reads the blocks of the whole range. It is done again after a 288th of the range, not earlier than after 30 s
 * and not later than after half an hour (ms). */
const COUNT_PARTS = 288;
const COUNT_MS = 30_000;

/** How often the records of a range are counted again (ms): those of a day every five minutes. */
export function countEvery(range: Range): number {
  const { since = 0, until = 0 } = bounds(range, 0);
  return Math.min(STOP_AFTER_MS, Math.max(COUNT_MS, Math.round((until - since) / COUNT_PARTS)));
}

export function pause(sinceRecordMs: number): number {
  return sinceRecordMs < QUIET_AFTER_MS ? BUSY_MS : QUIET_MS;
}

export interface Tail {
  stop(): void;
}

interface Ports {
  look: () => Promise<number>;
  hidden: () => boolean;
  now: () => number;
  expired: () => void;
}

/** Looks at once, and then again and again until it is stopped or has run for half an hour. While the page is
 * hidden it does not look. */
export function startTail({ look, hidden, now, expired }: Ports): Tail {
  const begun = now();
  let lastRecord = begun;
  let stopped = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const turn = async () => {
    if (stopped) return;
    if (now() - begun >= STOP_AFTER_MS) {
      expired();
      return;
    }
    if (!hidden()) {
      const found = await look();
      if (found > 0) lastRecord = now();
    }
    if (!stopped) timer = setTimeout(turn, pause(now() - lastRecord));
  };
  void turn();
  return {
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
}
