/**
 * The first visit of a person with nothing but `make up`: a picture of each step, and how long the browser says it took.
 * Fails where a step does not lead to the next, or the page reports an error.
 */

import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { chromium, type Page } from '@playwright/test';
import { App, stack } from '../../../browser/test/support/stack.ts';
import { launchOptions } from '../../../playwright.ts';
import { watch } from './fixtures.ts';
import { entries, write } from './shop.ts';

const OUT = process.argv[2] ?? 'test-results/walk';
const found = stack();
if (!found) throw new Error('no stack: `make up`');
mkdirSync(OUT, { recursive: true });

interface Timings {
  firstContentMs: number;
  slowestInteractionMs: number;
}

/** Measures in the page itself, from its first script on. */
function measure(): void {
  const timings: Timings = { firstContentMs: 0, slowestInteractionMs: 0 };
  Object.assign(window, { timings });
  new PerformanceObserver((list) => {
    for (const { name, startTime } of list.getEntries())
      if (name === 'first-contentful-paint') timings.firstContentMs = Math.round(startTime);
  }).observe({ type: 'paint', buffered: true });
  new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries())
      timings.slowestInteractionMs = Math.max(timings.slowestInteractionMs, Math.round(duration));
  }).observe({ type: 'event', buffered: true });
}

const browser = await chromium.launch(launchOptions);
const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
const problems = watch(page);
await page.addInitScript(measure);

let steps = 0;
async function seen(name: string, on: Page = page): Promise<void> {
  steps += 1;
  await on.waitForLoadState('networkidle');
  await on.screenshot({ path: join(OUT, `${String(steps).padStart(2, '0')}-${name}.png`) });
}

await page.goto(`${found.api}/console/`);
await page.getByRole('button', { name: 'Log in' }).waitFor();
await seen('login');

await page.getByLabel('API key, admin key or view token').fill(found.adminKey);
await page.getByRole('button', { name: 'Log in' }).click();
await page.getByRole('heading', { name: 'Overview' }).waitFor();
await seen('overview');

const id = `first-${Date.now().toString(36)}`;
await page.getByRole('button', { name: 'Register an app' }).click();
const dialog = page.getByRole('dialog');
await dialog.getByLabel(/^Id/).fill(id);
await dialog.getByRole('button', { name: 'Register' }).click();
const key = (await dialog.locator('pre').textContent()) ?? '';
await seen('registered');
await dialog.getByRole('button', { name: 'Done' }).click();

await page.getByRole('link', { name: 'Logs', exact: true }).click();
await page.getByRole('combobox', { name: 'App' }).selectOption(id);
await page.getByRole('button', { name: 'all time' }).click();
await page.getByRole('heading', { name: 'No records yet' }).waitFor();
await seen('empty');

// The command that the empty page shows, as it is.
const command = (await page.locator('.command pre').textContent()) ?? '';
execFileSync('bash', ['-c', command], { env: { ...process.env, KEY: key, NO_PROXY: '*' }, stdio: 'pipe' });
await page.getByRole('button', { name: 'Ask again' }).click();
await page.locator('.row').first().waitFor();
await seen('first-record');

await write(App.of(found, id, key), entries(Date.now() - 6 * 3_600_000, Date.now(), 60));
await page.getByRole('link', { name: 'Overview', exact: true }).click();
await page.getByRole('link', { name: id, exact: true }).click();
await page.locator('.row').nth(5).waitFor();
await seen('one-click-from-the-overview');

await page.keyboard.press('/');
await page.keyboard.type('payment provider');
await page.locator('.row mark').first().waitFor();
await seen('search');

await page
  .getByRole('button', { name: /^Record of/ })
  .first()
  .click();
await page.getByRole('button', { name: 'View in context' }).waitFor();
await seen('record');

await page.getByRole('button', { name: 'View in context' }).click();
await page.getByText('without filters').waitFor();
await page.locator('.row').nth(5).waitFor();
await seen('context');

const urls = [{ name: 'nightly', heartbeat: '26h' }];
const app = App.of(found, id, key);
await app.call('POST', `/apps/${id}/health-urls`, { public_badges: true, urls });
await app.call('POST', `/health/${id}/nightly/push`, { ok: true, duration_ms: 1_200 });
await page.getByRole('link', { name: 'Health', exact: true }).click();
await page.getByRole('heading', { name: 'nightly' }).waitFor();
await seen('health');

const status = await browser.newPage({ viewport: { width: 1280, height: 800 }, javaScriptEnabled: false });
await status.goto(`${found.api}/status/${id}`);
await status.getByText('nightly').first().waitFor();
await seen('status-page', status);

const timings = await page.evaluate(() => (window as unknown as { timings: Timings }).timings);
await browser.close();
if (problems.length) throw new Error(`the page reports: ${problems.join('; ')}`);
console.log(
  `${steps} steps, pictures in ${OUT}; first content after ${timings.firstContentMs} ms, the slowest interaction ${timings.slowestInteractionMs} ms`,
);
