/** Finding an error, and filters in the URL, in a stock Firefox on the running stack. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Page } from 'puppeteer-core';
import { firefox } from '../../../browser/test/support/firefox.ts';
import { App, NO_STACK, type Stack, stack } from '../../../browser/test/support/stack.ts';

const browser = firefox();
const running = stack();
const options = running ? {} : { skip: NO_STACK };

async function logIn(page: Page, key: string): Promise<void> {
  await page.locator('input[name=credential]').fill(key);
  await page.locator('button[type=submit]').click();
  await page.locator('nav').wait();
}

const texts = (page: Page) =>
  page.evaluate(() => [...document.querySelectorAll('.row .message')].map((row) => row.textContent ?? ''));

/** How long rows are waited for before the test fails (ms). */
const DEADLINE_MS = 60_000;

/** Waits until the rows are as wanted. */
async function until(page: Page, wanted: (rows: string[]) => boolean): Promise<string[]> {
  const deadline = Date.now() + DEADLINE_MS;
  for (;;) {
    const rows = await texts(page);
    if (wanted(rows)) return rows;
    if (Date.now() > deadline) throw new Error(`the rows stay ${JSON.stringify(rows).slice(0, 1_000)}`);
    await new Promise((done) => setTimeout(done, 100));
  }
}

async function story(): Promise<App> {
  const app = await App.create(running as Stack);
  const now = Date.now();
  const at = (n: number) => new Date(now - n * 60_000).toISOString();
  const logs = Array.from({ length: 30 }, (_, n) => ({
    level: 'info',
    message: `step ${n}`,
    timestamp: at(30 - n),
  }));
  await app.call('POST', '/logs', {
    logs: [...logs, { level: 'error', message: 'the payment failed', timestamp: at(9.5) }],
  });
  return app;
}

test('an error is found by search, and its link shows it between its neighbours', options, async () => {
  const app = await story();
  const page = await browser().newPage();
  const problems: string[] = [];
  page.on('pageerror', (error) => problems.push(String(error)));
  await page.goto(`${app.stack.api}/console/#/logs`);
  await logIn(page, app.key);
  await until(page, (rows) => rows.length > 5);
  await page.locator('#search').fill('PAYMENT');
  await until(page, (rows) => rows.length === 1 && rows[0] === 'the payment failed');
  await page.locator('.expand').click();
  await page.locator('::-p-text(View in context)').click();
  const around = await until(page, (rows) => rows.length > 20);
  const place = around.indexOf('the payment failed');
  assert.deepEqual([around[place - 1], around[place + 1]], ['step 21', 'step 20']);
  const url = page.url();
  assert.ok(!url.includes(app.key));
  const other = await (await browser().createBrowserContext()).newPage();
  await other.goto(url);
  await logIn(other, app.key);
  await until(other, (rows) => rows.includes('the payment failed'));
  assert.deepEqual(problems, []);
});

test('the URL is the filters, and an expired login returns to them', options, async () => {
  const app = await story();
  const page = await browser().newPage();
  await page.goto(`${app.stack.api}/console/#/logs?level=ERROR&range=1h`);
  await logIn(page, app.key);
  await until(page, (rows) => rows.length === 1);
  await page.locator('button[aria-label="Log out"]').click();
  await logIn(page, app.key);
  await until(page, (rows) => rows.length === 1);
  assert.match(page.url(), /level=ERROR&range=1h/);
});
