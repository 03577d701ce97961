/** Screenshots of the console on the running stack, into docs/images: `make screenshots`. */

import { createServer } from 'node:http';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Browser, chromium, type Page } from '@playwright/test';
import { stack } from '../../../browser/test/support/stack.ts';
import { launchOptions } from '../../../playwright.ts';
import { backdate, entries, register, runChecks, uploadFiles, write } from './shop.ts';

const HOUR_MS = 3_600_000;
const OUT = process.argv[2] ?? fileURLToPath(new URL('../../../../docs/images', import.meta.url));
const ONLY = process.argv[3];
const found = stack();
if (!found) throw new Error('no stack: `make up`');

const now = Date.now();
const shop = await register(found, 'shop', 'The shop');
await backdate(shop, now - 8 * 24 * HOUR_MS);
for (let day = 6; day >= 1; day--) {
  await write(
    shop,
    entries(now - day * 24 * HOUR_MS, now - (day - 1) * 24 * HOUR_MS, day === 1 ? 260 : 60 + 10 * day),
  );
}
const billing = await register(found, 'billing', 'Billing');
await write(billing, entries(now - 20 * HOUR_MS, now, 20));
await uploadFiles(shop);
const errors = { filter: { level: 'ERROR' }, notify: { sns: true } };
await shop.call('POST', `/apps/${shop.id}/alerts`, {
  ...errors,
  name: 'errors',
  threshold: 3,
  window_minutes: 5,
});
await shop.call('POST', `/apps/${shop.id}/alerts`, {
  name: 'slow-queries',
  filter: { level: 'WARN', 'field.context.ms': '>=3000' },
  threshold: 20,
  window_minutes: 60,
  notify: { webhook: 'http://127.0.0.1:9/hook' },
});

let payments = 0;
const answers = createServer((request, response) => {
  // Some failures in a row, so that the check goes down and up again. A failed HEAD is followed by a GET.
  const fails = request.url === '/payments' && [20, 21, 22, 23, 24, 25, 47, 48].includes(payments++);
  setTimeout(() => response.writeHead(fails ? 503 : 200).end('ok'), 5 + (Date.now() % 40));
});
await new Promise<void>((done) => answers.listen(0, '127.0.0.1', done));
const address = answers.address() as { port: number };
const site = `http://127.0.0.1:${address.port}`;
await shop.call('POST', `/apps/${shop.id}/health-urls`, {
  urls: [
    { name: 'Shop', url: `${site}/` },
    { name: 'Payments', url: `${site}/payments` },
  ],
});
const slot = Math.floor(now / 300_000) * 300_000;
await runChecks(Array.from({ length: 60 }, (_, n) => slot - (59 - n) * 300_000));

async function open(
  browser: Browser,
  scheme: 'light' | 'dark',
  width: number,
  height: number,
  hash: string,
): Promise<Page> {
  const context = await browser.newContext({
    colorScheme: scheme,
    viewport: { width, height },
    deviceScaleFactor: 1,
  });
  const page = await context.newPage();
  await page.goto(`${found?.api}/console/${hash}`);
  // The overview of the administration shows several apps.
  const secret = hash === '#/overview' ? (found?.adminKey ?? '') : shop.key;
  await page.getByLabel('API key, admin key or view token').fill(secret);
  await page.getByRole('button', { name: 'Log in' }).click();
  await page.getByRole('navigation').waitFor();
  await page.waitForLoadState('networkidle');
  return page;
}

const browser = await chromium.launch(launchOptions);
type Step = (page: Page) => Promise<void>;
const shots: [string, string, Step?][] = [
  ['overview', '#/overview'],
  ['logs', '#/logs'],
  [
    'logs-record',
    '#/logs?level=ERROR&q=payment',
    async (page) => {
      await page
        .getByRole('button', { name: /^Record of/ })
        .nth(2)
        .click();
      await page.waitForTimeout(300);
    },
  ],
  [
    'files',
    '#/files',
    async (page) => {
      await page.locator('.file-line', { hasText: 'worker-7' }).click();
      await page.locator('.bad-records pre').first().waitFor();
    },
  ],
  ['alerts', '#/alerts'],
  ['health', '#/health'],
  ['app', '#/app'],
];
for (const [name, hash, step] of shots) {
  if (ONLY && !ONLY.split(',').includes(name)) continue;
  for (const [scheme, width, height] of [
    ['light', 1280, 800],
    ['dark', 1280, 800],
    ['light', 360, 740],
  ] as const) {
    // The documentation shows one page on a phone; ALL=1 takes them all, to be looked at.
    if (width === 360 && name !== 'logs' && !process.env.ALL) continue;
    const page = await open(browser, scheme, width, height, hash);
    await step?.(page);
    await page.waitForLoadState('networkidle');
    await page.screenshot({ path: join(OUT, `console-${name}-${width === 360 ? 'phone' : scheme}.png`) });
    await page.context().close();
  }
}
await browser.close();
answers.close();
