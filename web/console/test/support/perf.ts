/** Figures of the console on the running stack: the first page, the histogram, and scrolling to 100,000 records. */

import { gzipSync } from 'node:zlib';
import { chromium } from '@playwright/test';
import { App, stack } from '../../../browser/test/support/stack.ts';
import { launchOptions } from '../../../playwright.ts';
import { upload } from './shop.ts';

const RECORDS = Number(process.env.RECORDS ?? 200_000);
const PER_FILE = 50_000;
const found = stack();
if (!found) throw new Error('no stack: `make up`');
const app = await App.create(found);
const now = Date.now();
const span = 20 * 3_600_000;
let bytes = 0;
for (let from = 0; from < RECORDS; from += PER_FILE) {
  const lines = Array.from({ length: Math.min(PER_FILE, RECORDS - from) }, (_, i) => {
    const n = from + i;
    const time = Math.round(now - span + (n / RECORDS) * span);
    return JSON.stringify({
      level: n % 50 ? 'info' : 'error',
      time,
      msg: `request ${n} took ${n % 977} ms`,
      user: `u${n % 400}`,
    });
  }).join('\n');
  bytes += lines.length;
  await upload(app, `part-${from}.log.gz`, gzipSync(lines));
}
for (;;) {
  const days = await app.call<{ info: number; error: number }[]>('GET', `/stats/${app.id}?days=3`);
  if (days.reduce((sum, day) => sum + day.info + day.error, 0) >= RECORDS) break;
  await new Promise((done) => setTimeout(done, 500));
}
console.log(`${RECORDS} records of ${Math.round(bytes / 1e6)} MB are stored`);

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
const long = await page.evaluate(() => (window as unknown as { long: number[] }).long);
console.log(
  `100,000 rows after ${Math.round((performance.now() - scrolling) / 1_000)} s; heap ${before.toFixed(0)} → ${after.toFixed(0)} MB; rows in the page: ${await page.locator('.row').count()}; long tasks over 200 ms: ${long.filter((ms) => ms > 200).length} of ${long.length}, the longest ${Math.max(0, ...long)} ms`,
);
await browser.close();
