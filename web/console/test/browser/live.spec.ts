/** The live tail. */

import type { Page } from '@playwright/test';
import type { App } from '../../../browser/test/support/stack.ts';
import { expect, open, rows, test } from '../support/fixtures.ts';

const now = () => new Date().toISOString();

/** Records of a backlog: more than one look of the live tail reads. */
const BACKLOG = 3_000;

/** Stores a backlog with a last record, and waits until it is in the order of arrival. */
async function storeBacklog(app: App, last: string): Promise<void> {
  const entry = (message: string) => ({ level: 'info', message, timestamp: now() });
  const logs = Array.from({ length: BACKLOG }, (_, n) => entry(`backlog ${n}`));
  for (let n = 0; n < BACKLOG; n += 1_000)
    await app.call('POST', '/logs', { logs: logs.slice(n, n + 1_000) });
  await app.call('POST', '/logs', entry(last));
  const search = `/logs?after=1h&search=${encodeURIComponent(last)}`;
  await expect.poll(async () => (await app.call<unknown[]>('GET', search)).length).toBe(1);
}

const setHidden = (page: Page, value: boolean) =>
  page.evaluate(
    (hidden) => Object.defineProperty(document, 'hidden', { value: hidden, configurable: true }),
    value,
  );

test('a new record appears by itself, and a late one is put in its place and marked', async ({
  page,
  app,
  url,
}) => {
  await app.call('POST', '/logs', { level: 'info', message: 'the first', timestamp: now() });
  await open(page, url, '#/logs', app.key);
  await expect(rows(page)).toHaveCount(1);
  await page.keyboard.press('l');
  await expect(page.getByRole('button', { name: 'Live' })).toHaveAttribute('aria-pressed', 'true');
  await app.call('POST', '/logs', { level: 'error', message: 'the second', timestamp: now() });
  await expect(rows(page).first()).toContainText('the second');
  const late = new Date(Date.now() - 60_000).toISOString();
  await app.call('POST', '/logs', { level: 'warn', message: 'from the past', timestamp: late });
  await expect(rows(page).last()).toContainText('from the past');
  await expect(rows(page).last().getByText('late', { exact: true })).toBeVisible();
});

test('a new record appears beside a backlog that had arrived before the list', async ({ page, app, url }) => {
  await storeBacklog(app, 'the last one');
  const arrived: string[] = [];
  page.on('response', async (response) => {
    if (!new URL(response.url()).searchParams.has('after')) return;
    // The last answer may be on its way when the page is closed.
    const { data } = (await response.json().catch(() => ({ data: [] }))) as { data: { message: string }[] };
    arrived.push(...data.map(({ message }) => message));
  });
  await open(page, url, '#/logs?live=1', app.key);
  await expect(rows(page).first()).toContainText('the last one');
  await app.call('POST', '/logs', { level: 'info', message: 'brand new', timestamp: now() });
  await expect(rows(page).first()).toContainText('brand new');
  await expect.poll(() => arrived).toEqual(['brand new']);
  await expect(rows(page).filter({ hasText: 'brand new' })).toHaveCount(1);
  await expect(page.getByText('More records have arrived')).toHaveCount(0);
});

test('a backlog that is larger than a look is skipped, and the page says so', async ({ page, app, url }) => {
  await app.call('POST', '/logs', { level: 'info', message: 'the first', timestamp: now() });
  await open(page, url, '#/logs?live=1', app.key);
  await expect(rows(page)).toHaveCount(1);
  await setHidden(page, true);
  await storeBacklog(app, 'the last one');
  await setHidden(page, false);
  await expect(rows(page).first()).toContainText('the last one');
  await expect(page.getByText('More records have arrived than the live tail reads')).toBeVisible();
  await page.getByRole('button', { name: 'Reload' }).click();
  await expect(page.getByText('More records have arrived')).toHaveCount(0);
  await expect(rows(page).first()).toContainText('the last one');
});

test('while the reader has scrolled down, new records wait', async ({ page, app, url }) => {
  const start = Date.now() - 3_600_000;
  const logs = Array.from({ length: 400 }, (_, n) => ({
    level: 'info',
    message: `old ${n}`,
    timestamp: new Date(start + n * 1_000).toISOString(),
  }));
  await app.call('POST', '/logs', { logs });
  await open(page, url, '#/logs?live=1', app.key);
  await expect(rows(page).first()).toContainText('old 399');
  const list = page.getByRole('region', { name: /Records/ });
  await list.hover();
  await page.mouse.wheel(0, 3_000);
  await expect(rows(page).filter({ hasText: 'old 399' })).toHaveCount(0);
  await app.call('POST', '/logs', { level: 'info', message: 'brand new', timestamp: now() });
  await page.getByRole('button', { name: /1 new/ }).click();
  await expect(rows(page).first()).toContainText('brand new');
});

test('five thousand records in a minute keep the page small', async ({ page, app, url }) => {
  await open(page, url, '#/logs?live=1&range=15m', app.key);
  await page.evaluate(() => {
    const seen: number[] = [];
    Object.assign(window, { longTasks: seen });
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) seen.push(Math.round(entry.duration));
    }).observe({ type: 'longtask', buffered: false });
  });
  for (let part = 0; part < 10; part++) {
    const logs = Array.from({ length: 500 }, (_, n) => ({
      level: 'info',
      message: `burst ${part}-${n}`,
      timestamp: now(),
    }));
    await app.call('POST', '/logs', { logs });
    await expect(
      rows(page)
        .filter({ hasText: `burst ${part}-` })
        .first(),
    ).toBeVisible();
  }
  expect(await page.locator('.row').count()).toBeLessThan(2_000);
  const longTasks = await page.evaluate(() => (window as unknown as { longTasks: number[] }).longTasks);
  console.log(`long tasks while 5,000 records came (ms): ${longTasks.join(', ') || 'none'}`);
});

test('a hidden tab asks for nothing', async ({ page, app, url }) => {
  await app.call('POST', '/logs', { level: 'info', message: 'seen', timestamp: now() });
  await page.clock.install();
  await open(page, url, '#/logs?live=1', app.key);
  await expect(rows(page)).toHaveCount(1);
  let asked = 0;
  await page.route('**/v1/logs**', (route) => {
    asked++;
    return route.continue();
  });
  await setHidden(page, true);
  await page.clock.runFor(10_000);
  asked = 0;
  await page.clock.runFor(120_000);
  expect(asked).toBe(0);
  await setHidden(page, false);
  await page.clock.runFor(30_000);
  await expect.poll(() => asked).toBeGreaterThan(0);
});
