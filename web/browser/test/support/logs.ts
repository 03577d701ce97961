/** A logger in a page, and what of it has arrived. */

import { readFileSync } from 'node:fs';
import type { Page } from '@playwright/test';
import type * as Logs from '../../src/logs/index.ts';
import type { Logger, LoggerOptions, S3Logger } from '../../src/logs/index.ts';
import type { FaultServer } from './fault-server.ts';
import { expect } from './fixtures.ts';
import { storedLines } from './log-routes.ts';

declare global {
  interface Window {
    logs: typeof Logs;
    log: Logger;
    s3: S3Logger;
    /** Calls of getToken: the scope and the reason. */
    asked: string[];
    /** What getToken gives by reason and meeting. */
    token: (reason: string, meetingId: string) => string | null;
    flushed: Promise<unknown>;
    /** What workers have said, where a test records it. */
    said: string[];
  }
}

type Options = Partial<Omit<LoggerOptions, 'getToken' | 'beforeSend' | 'worker'>> & { worker?: string };

/** Creates `window.log` in a lab page. The first token is `good`. */
export async function startLogger(page: Page, server: FaultServer, options: Options = {}): Promise<void> {
  const all = {
    endpoint: server.api,
    scope: { meetingId: 'm-1', attendeeId: 'a-1' },
    autoUpload: false,
    ...options,
  };
  await page.evaluate((all) => {
    window.asked = [];
    window.token ??= () => 'good';
    window.log = window.logs.createLogger({
      ...all,
      getToken: async ({ scope, reason }) => {
        window.asked.push(`${reason} ${scope.meetingId}`);
        return window.token(reason, scope.meetingId);
      },
    });
  }, all);
}

/** Serves the log worker with `code` before it. */
export function before(server: FaultServer, code: string): void {
  const worker = readFileSync(new URL('../../dist/log-worker.js', import.meta.url), 'utf8');
  const headers = { 'content-type': 'text/javascript' };
  server.site_.set('/dist/log-worker.js', { status: 200, headers, body: `${code};${worker}` });
}

/** Makes the clocks of the page, opened next, and of its log worker fast. */
export async function setClockFast(page: Page, server: FaultServer, ms: number): Promise<void> {
  const code = `{ const now = Date.now; Date.now = () => now() + ${ms}; }`;
  await page.addInitScript(code);
  before(server, code);
}

/** Logs `line FROM` … `line TO - 1` in one task. */
export async function logLines(page: Page, from: number, to: number): Promise<void> {
  await page.evaluate(
    ([from, to]) => {
      for (let n = from; n < to; n += 1) window.log.info(`line ${n}`);
    },
    [from, to] as const,
  );
}

export const flush = (page: Page, timeoutMs?: number) =>
  page.evaluate((timeoutMs) => window.log.flush(timeoutMs === undefined ? {} : { timeoutMs }), timeoutMs);

/** Logs ten lines at a time from `line FROM` on until the page has a form for the last of them; returns the next number. */
export async function logUntilForm(page: Page, from: number): Promise<number> {
  for (let next = from + 10; ; next += 10) {
    await logLines(page, next - 10, next);
    // By now the worker has made the database.
    await stats(page);
    // A run that has just begun takes the lines itself, and then there is no form.
    for (let wait = 0; wait < 20; wait += 1) {
      if (await holdsLines(page)) {
        // The worker's message to the page comes before the answer to this.
        await stats(page);
        return next;
      }
      await new Promise((done) => setTimeout(done, 100));
    }
  }
}

/** Whether lines in the database are held for a form. */
const holdsLines = (page: Page) =>
  page.evaluate(
    () =>
      new Promise<boolean>((resolve) => {
        const opening = indexedDB.open('logferry-logs-1');
        opening.onsuccess = () => {
          const keys = opening.result.transaction('meta').objectStore('meta').getAllKeys();
          keys.onsuccess = () => {
            opening.result.close();
            resolve(keys.result.some((key) => String(key).startsWith('held:')));
          };
        };
      }),
  );

export const stats = (page: Page) => page.evaluate(() => window.log.stats());

/** The numbers of all stored `line N`, in order, each as often as it was stored. */
export function storedNumbers(server: FaultServer): number[] {
  const numbers = storedLines(server).flatMap((line) => {
    const found = /\bline (\d+)\b/.exec(line);
    return found ? [Number(found[1])] : [];
  });
  return numbers.sort((a, b) => a - b);
}

/** Every line of the range once, and no other. */
export function expectExactly(server: FaultServer, from: number, to: number): void {
  const wanted = Array.from({ length: to - from }, (_, at) => from + at);
  const stored = storedNumbers(server);
  // Compared as texts: a difference of thousands of numbers is no readable report.
  expect(summary(stored)).toBe(summary(wanted));
}

/** `3000 lines 0-2999`, or with gaps and doubles. */
function summary(numbers: number[]): string {
  const ranges: string[] = [];
  let begin = numbers[0] ?? 0;
  numbers.forEach((n, at) => {
    if (numbers[at + 1] === n + 1) return;
    ranges.push(`${begin}-${n}`);
    begin = numbers[at + 1] ?? 0;
  });
  return `${numbers.length} lines ${ranges.slice(0, 20).join(' ')}`;
}

/** Polls until it holds. */
export async function eventually(check: () => boolean | Promise<boolean>, withinMs = 60_000): Promise<void> {
  await expect.poll(check, { timeout: withinMs, intervals: [50, 100, 200] }).toBe(true);
}
