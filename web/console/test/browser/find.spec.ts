/** Finding a record, sharing it; filters and the URL. */

import { readFile } from 'node:fs/promises';
import { expect, logIn, open, rows, test } from '../support/fixtures.ts';

const MINUTE_MS = 60_000;

function story(now: number) {
  const at = (n: number) => new Date(now - n * MINUTE_MS).toISOString();
  const logs = Array.from({ length: 120 }, (_, n) => ({
    level: 'info',
    message: `step ${120 - n}`,
    timestamp: at(120 - n),
    context: { step: 120 - n, user: n % 2 ? 'ada' : 'grace' },
  }));
  logs.push({
    level: 'error',
    message: 'the payment failed',
    timestamp: at(40.5),
    context: { step: 0, user: 'ada' },
  });
  return { logs };
}

test('a new user finds an error by search, sees its context, and shares the link', async ({
  page,
  context,
  app,
  url,
}) => {
  await app.call('POST', '/logs', story(Date.now()));
  await context.grantPermissions(['clipboard-read', 'clipboard-write']);
  await page.goto(url);
  await logIn(page, app.key);
  await expect(page.getByRole('heading', { name: app.id })).toBeVisible();
  await page.getByRole('link', { name: 'Logs' }).click();
  await expect(rows(page).first()).toContainText('step 1');
  await page.keyboard.press('/');
  await page.keyboard.type('PAYMENT');
  await expect(rows(page)).toHaveCount(1);
  await expect(rows(page).locator('mark')).toHaveText('payment');
  await page.keyboard.press('Escape');
  await page.keyboard.press('j');
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: 'View in context' }).click();
  await expect(page.getByText('without filters')).toBeVisible();
  await expect(rows(page).filter({ hasText: /step 41$/ })).toBeVisible();
  await expect(rows(page).filter({ hasText: /step 40$/ })).toBeVisible();
  await page.getByRole('button', { name: 'Copy link' }).click();
  const link = await page.evaluate(() => navigator.clipboard.readText());
  expect(link).not.toContain(app.key);
  const other = await context.newPage();
  await other.goto(link);
  await logIn(other, app.key);
  await expect(rows(other).filter({ hasText: 'the payment failed' }).locator('.detail')).toBeVisible();
  await other.close();
});

test('filters are in the URL, and the URL is the filters', async ({ page, app, url }) => {
  await app.call('POST', '/logs', story(Date.now()));
  await open(page, url, '#/logs', app.key);
  await page.getByRole('button', { name: 'ERROR', exact: true }).click();
  await expect(page).toHaveURL(/level=ERROR/);
  await expect(rows(page)).toHaveCount(1);
  await page.getByRole('button', { name: 'ERROR', exact: true }).click();
  await page
    .getByRole('button', { name: /^Record of/ })
    .first()
    .click();
  await page.getByTitle('Filter: context.user=ada').click();
  await expect(page).toHaveURL(/field\.context\.user=%3Dada/);
  await expect(page.getByText('context.user is ada')).toBeVisible();
  await expect(rows(page).filter({ hasText: /step 2$/ })).toHaveCount(0);
  await page.goBack();
  await expect(page.getByText('context.user is ada')).toHaveCount(0);
  await page.goto(`${url}#/logs?q=step+7&range=7d&wrap=1`);
  await expect(page.getByRole('searchbox')).toHaveValue('step 7');
  await expect(page.getByRole('button', { name: 'Last 7 days' })).toBeVisible();
  await expect(page.getByRole('button', { name: /Wrap/ })).toHaveAttribute('aria-pressed', 'true');
  await expect(rows(page)).toHaveCount(11);
});

test('conditions on members of a record, and a search in the whole entry', async ({ page, app, url }) => {
  const logs = [
    { level: 'error', message: 'failed', err: { type: 'Timeout', ms: 5_000 } },
    { level: 'error', message: 'failed too', err: { type: 'Refused', ms: 3 } },
  ];
  await app.call('POST', '/logs', { logs });
  await open(page, url, '#/logs', app.key);
  await expect(rows(page)).toHaveCount(2);
  await page.getByRole('button', { name: 'Filter', exact: true }).click();
  await page.getByLabel('Member of the record').fill('err.ms');
  await page.getByLabel('Condition').selectOption('is at least');
  await page.getByLabel('Value').fill('100');
  await page.getByRole('button', { name: 'Add', exact: true }).click();
  await expect(rows(page)).toHaveCount(1);
  await expect(page.getByText('err.ms is at least 100')).toBeVisible();
  await page.getByRole('button', { name: /^Remove err/ }).click();
  await expect(rows(page)).toHaveCount(2);
  await page.getByRole('searchbox').fill('refused');
  await expect(page.getByText('No record matches')).toBeVisible();
  await page.getByRole('button', { name: 'everywhere' }).click();
  await expect(rows(page)).toHaveCount(1);
  await expect(rows(page)).toContainText('failed too');
});

test('a number that JavaScript cannot hold is shown, filtered, copied and downloaded with its own digits', async ({
  page,
  context,
  app,
  url,
}) => {
  await context.grantPermissions(['clipboard-read', 'clipboard-write']);
  for (const id of ['9007199254740993', '9007199254740992']) {
    const headers = { 'x-api-key': app.key, 'content-type': 'application/json' };
    const body = `{"level":"info","message":"order","context":{"id":${id},"price":1.10}}`;
    const answer = await fetch(`${app.stack.api}/logs`, { method: 'POST', headers, body });
    expect(answer.status).toBeLessThan(300);
  }
  await open(page, url, '#/logs', app.key);
  await expect(rows(page)).toHaveCount(2);
  for (const button of await page.getByRole('button', { name: /^Record of/ }).all()) await button.click();
  await page.getByTitle('Filter: context.id=9007199254740993').click();
  await expect(rows(page)).toHaveCount(1);
  await page.getByRole('button', { name: /^Record of/ }).click();
  await expect(page.getByTitle('Filter: context.price=1.10')).toBeVisible();
  await page.getByRole('button', { name: 'Copy JSON' }).click();
  await expect.poll(() => page.evaluate(() => navigator.clipboard.readText())).toContain('"price": 1.10');
  await page.getByRole('button', { name: 'Stored entry' }).click();
  await expect(page.locator('.raw-text')).toContainText('"id": 9007199254740993');
  await page.getByRole('button', { name: 'Download', exact: true }).click();
  const saved = page.waitForEvent('download');
  await page.getByRole('dialog').getByRole('button', { name: 'Download' }).click();
  const file = await readFile(await (await saved).path(), 'utf8');
  expect(file).toContain('"context":{"id":9007199254740993,"price":1.10}');
});

test('an expired login returns to the same view', async ({ page, app, url }) => {
  await app.call('POST', '/logs', story(Date.now()));
  await open(page, url, '#/logs?q=payment', app.key);
  await expect(rows(page)).toHaveCount(1);
  await page.route('**/v1/logs**', (route) =>
    route.fulfill({ status: 401, json: { ok: false, error: { code: 'UNAUTHORIZED', message: 'no' } } }),
  );
  await page.getByRole('button', { name: 'Ask again' }).click();
  await expect(page.getByText('The session has ended')).toBeVisible();
  await page.unroute('**/v1/logs**');
  await logIn(page, app.key);
  await expect(page).toHaveURL(/q=payment/);
  await expect(rows(page)).toHaveCount(1);
});

test('what the API refuses is shown in its words', async ({ page, app, url }) => {
  await open(page, url, '#/logs', app.key);
  const message = 'more than 100 requests in a second';
  await page.route('**/v1/logs?**', (route) =>
    route.fulfill({
      status: 429,
      headers: { 'retry-after': '7' },
      json: { ok: false, error: { code: 'RATE_LIMITED', message }, request_id: 'r-1' },
    }),
  );
  await page.getByRole('button', { name: 'Ask again' }).click();
  await expect(page.getByRole('alert')).toContainText(message);
  await expect(page.getByRole('alert')).toContainText('try again in 7 s');
  await expect(page.getByRole('alert')).toContainText('request r-1');
  await page.unroute('**/v1/logs?**');
  // A filter that the API refuses.
  await page.goto(`${url}#/logs?field.=x`);
  await expect(page.getByRole('alert')).toContainText('field. needs a path');
});

test('a wrong key is refused at the login', async ({ page, stack, url }) => {
  await page.goto(url);
  await page.getByLabel('API key, admin key or view token').fill('0123456789abcdef'.repeat(3));
  await page.getByRole('button', { name: 'Log in' }).click();
  await expect(page.getByRole('alert')).toContainText('invalid');
  await logIn(page, stack.adminKey);
  await expect(page.getByRole('combobox', { name: 'App' })).toBeVisible();
});
