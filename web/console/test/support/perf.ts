/**
 * Figures of the console on the running stack: the first page, the histogram, scrolling to 100,000 records, and the live
 * tail under load. Stores RECORDS (200,000) of about 90 bytes in the last 20 hours, or measures an app that is stored: APP
 * and KEY, as an earlier run has printed them.
 */

import { gzipSync } from 'node:zlib';
import { chromium } from '@playwright/test';
import { App, type Stack, stack } from '../../../browser/test/support/stack.ts';
import { launchOptions } from '../../../playwright.ts';
import { upload } from './shop.ts';

const RECORDS = Number(process.env.RECORDS ?? 200_000);
const PER_FILE = 50_000;
const SPAN_MS = 20 * 3_600_000;
/** Records of the live tail's minute, in this many requests. */
const [TAIL_RECORDS, TAIL_REQUESTS] = [5_000, 30];

const found = stack();
if (!found) throw new Error('no stack: `make up`');
const { APP, KEY } = process.env;
const app = APP && KEY ? App.of(found, APP, KEY) : await stored(found);

/** An app with records, none of which go on to CloudWatch Logs: what is measured is reading. */
async function stored(running: Stack): Promise<App> {
  const fresh = await App.create(running);
  await fresh.call('PATCH', `/apps/${fresh.id}`, { flush: { enabled: false } });
  const now = Date.now();
  let bytes = 0;
  for (let from = 0; from < RECORDS; from += PER_FILE) {
    const lines = Array.from({ length: Math.min(PER_FILE, RECORDS - from) }, (_, i) => {
      const n = from + i;
      const time = Math.round(now - SPAN_MS + (n / RECORDS) * SPAN_MS);
      return JSON.stringify({
        level: n % 50 ? 'info' : 'error',
        time,
        msg: `request ${n} took ${n % 977} ms`,
        user: `u${n % 400}`,
      });
    }).join('\n');
    bytes += lines.length;
    await upload(fresh, `part-${from}.log.gz`, gzipSync(lines));
  }
  for (;;) {
    const days = await fresh.call<{ info: number; error: number }[]>('GET', `/stats/${fresh.id}?days=3`);
    if (days.reduce((sum, day) => sum + day.info + day.error, 0) >= RECORDS) break;
    await new Promise((done) => setTimeout(done, 500));
  }
  console.log(`${RECORDS} records of ${Math.round(bytes / 1e6)} MB: APP=${fresh.id} KEY=${fresh.key}`);
  return fresh;
}

const timed = async (what: string, path: string) => {
  const begun = performance.now();
  const answer = await fetch(`${found.api}${path}`, { headers: { 'x-api-key': app.key } });
  const size = (await answer.arrayBuffer()).byteLength;
  console.log(`${what}: ${answer.status}, ${Math.round(performance.now() - begun)} ms, ${size} bytes`);
};
for (let n = 0; n < 2; n++) {
  await timed('first page', '/v1/logs?limit=200');
  await timed('histogram of a day', '/v1/logs/counts');
  await timed('histogram with a search', '/v1/logs/counts?search=took+7+ms');
}

const browser = await chromium.launch({
  ...launchOptions,
  args: [...launchOptions.args, '--enable-precise-memory-info', '--js-flags=--expose-gc'],
});
const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
await page.goto(`${found.api}/console/#/logs`);
await page.getByLabel('API key, admin key or view token').fill(app.key);
const begun = performance.now();
await page.getByRole('button', { name: 'Log in' }).click();
await page.locator('.row').first().waitFor();
console.log(`login to the first record: ${Math.round(performance.now() - begun)} ms`);
await page.evaluate(() => {
  Object.assign(window, { long: [] });
  new PerformanceObserver((list) => {
    for (const one of list.getEntries())
      (window as unknown as { long: number[] }).long.push(Math.round(one.duration));
  }).observe({ type: 'longtask' });
});
/** What the main thread was busy with for more than 50 ms at once, since the last call. */
const longTasks = async () => {
  const long = await page.evaluate(() => (window as unknown as { long: number[] }).long.splice(0));
  const over = long.filter((ms) => ms > 200).length;
  return `long tasks over 200 ms: ${over} of ${long.length}, the longest ${Math.max(0, ...long)} ms`;
};
const heap = async () => {
  await page.evaluate(() => (globalThis as unknown as { gc: () => void }).gc());
  return page.evaluate(
    () => (performance as unknown as { memory: { usedJSHeapSize: number } }).memory.usedJSHeapSize / 1e6,
  );
};
const before = await heap();
const count = async () =>
  page.evaluate(() => Math.round((document.querySelector('.rows')?.clientHeight ?? 0) / 28));
const scrolling = performance.now();
for (let shown = await count(); shown < 100_000; shown = await count()) {
  await page.evaluate(() => document.querySelector('.list')?.scrollTo({ top: 1e9 }));
  await page.waitForTimeout(20);
}
const after = await heap();
console.log(
  `100,000 rows after ${Math.round((performance.now() - scrolling) / 1_000)} s; heap ${before.toFixed(0)} → ${after.toFixed(0)} MB; rows in the page: ${await page.locator('.row').count()}; ${await longTasks()}`,
);

await page.goto(`${found.api}/console/#/logs?live=1&range=15m`);
await page.getByRole('button', { name: 'Live' }).waitFor();
await longTasks();
const minute = performance.now();
const arriving = `tail-${Date.now().toString(36)}`;
for (let request = 0; request < TAIL_REQUESTS; request++) {
  const logs = Array.from({ length: Math.ceil(TAIL_RECORDS / TAIL_REQUESTS) }, (_, n) => ({
    level: 'info',
    message: `${arriving} ${request}-${n}`,
    timestamp: new Date().toISOString(),
  }));
  await app.call('POST', '/logs', { logs });
  const next = minute + ((request + 1) * 60_000) / TAIL_REQUESTS;
  await new Promise((done) => setTimeout(done, Math.max(0, next - performance.now())));
}
await page
  .locator('.row', { hasText: `${arriving} ${TAIL_REQUESTS - 1}-` })
  .first()
  .waitFor();
console.log(
  `live tail, ${TAIL_RECORDS} records in ${Math.round((performance.now() - minute) / 1_000)} s; rows in the page: ${await page.locator('.row').count()}; ${await longTasks()}`,
);
await browser.close();
