/** The page that erases records: what would be erased, the typed confirmation, the progress and what is not reached. */

import { expect, logIn, open, rows, serious, test } from '../support/fixtures.ts';
import { sweep } from '../support/shop.ts';

const RANGE = 'since=2024-01-01T00%3A00%3A00Z&until=2024-01-03T00%3A00%3A00Z';

function people(message = 'order') {
  const users = ['ada', 'grace', 'linus'];
  const logs = Array.from({ length: 30 }, (_, n) => ({
    level: 'info',
    message: `${message} ${n}`,
    context: { user: users[n % 3] },
  }));
  return { logs };
}

test('the records of a person are counted, erased after a typed confirmation, and gone', async ({
  page,
  app,
  url,
}) => {
  await app.call('POST', '/logs', people());
  await open(page, url, '#/logs?field.context.user=%3Dada', app.key);
  await expect(rows(page)).toHaveCount(10);
  await page.getByRole('button', { name: 'Erase these records' }).click();
  await expect(page.getByRole('link', { name: 'context.user is ada' })).toBeVisible();
  await expect(page.getByRole('button', { name: 'Erase …' })).toHaveCount(0);
  await page.getByRole('button', { name: 'Count what would be erased' }).click();
  await expect(page.getByRole('heading', { name: '10 records would be erased' })).toBeVisible();
  await expect(page.getByText('CloudWatch Logs')).toBeVisible();
  expect(await serious(page), 'before').toEqual([]);
  await page.getByRole('button', { name: 'Erase …' }).click();
  const dialog = page.getByRole('dialog');
  await expect(dialog.getByRole('button', { name: 'Erase' })).toBeDisabled();
  await dialog.getByRole('textbox').fill('another-app');
  await expect(dialog.getByRole('button', { name: 'Erase' })).toBeDisabled();
  await dialog.getByRole('textbox').fill(app.id);
  expect(await serious(page), 'confirmation').toEqual([]);
  await dialog.getByRole('button', { name: 'Erase' }).click();
  await expect(page.getByRole('heading', { name: 'Erasing' })).toBeVisible();
  await expect(page).toHaveURL(/job=[0-9a-f]{32}/);
  // The sweep works as its schedule would have made it.
  await expect(async () => {
    await sweep();
    await expect(page.getByRole('status').getByText('verifying')).toBeVisible({ timeout: 5_000 });
  }).toPass();
  await expect(page.getByText('One more pass follows')).toBeVisible();
  await expect(page.locator('.facts').first()).toContainText('10');
  expect(await serious(page), 'progress').toEqual([]);
  await page.reload();
  await expect(page.getByRole('heading', { name: 'Erasing' })).toBeVisible();
  await page.goto(`${url}#/logs`);
  await expect(rows(page)).toHaveCount(20);
  await expect(page.locator('.rows').getByText('ada')).toHaveCount(0);
});

test('a complete erasure shows its result without the values of its filter, and is not asked for again', async ({
  page,
  app,
  url,
}) => {
  await app.call('POST', '/logs', people());
  const wish = {
    filter: { 'field.context.user': 'ada' },
    since: 1_704_067_200_000,
    until: 1_861_920_000_000,
  };
  const { job_id } = await app.call<{ job_id: string }>('POST', `/apps/${app.id}/erase`, wish);
  let asked = 0;
  await page.route(`**/erase/${job_id}**`, async (route) => {
    asked += 1;
    const complete = asked > 1;
    const answer = await route.fetch();
    const { data } = (await answer.json()) as { data: object };
    const over = { state: 'complete', completed_at: '2026-01-02T03:04:05.000Z', records: 10 };
    const changes = complete ? { ...over, filter: { 'field.context.user': '' } } : {};
    await route.fulfill({ json: { ok: true, data: { ...data, ...changes } } });
  });
  await page.clock.install();
  await open(page, url, `#/erase?job=${job_id}`, app.key);
  // The page sets its timer when an answer has arrived, which takes real time.
  await expect(async () => {
    await page.clock.runFor(10_000);
    await expect(page.getByRole('heading', { name: 'Erased' })).toBeVisible({ timeout: 1_000 });
  }).toPass();
  const untilComplete = asked;
  await page.clock.runFor(30_000);
  await expect(page.getByText('their values are not kept')).toBeVisible();
  await expect(page.getByText('until 20').first()).toBeVisible();
  expect(asked).toBe(untilComplete);
  await page.goto(`${url}#/erase?job=${'0'.repeat(32)}`);
  await expect(page.getByRole('alert')).toContainText('no such erasure');
});

test('without a filter, or with two conditions on one member, nothing can be erased', async ({
  page,
  app,
  url,
}) => {
  await open(page, url, '#/app', app.key);
  await page.getByRole('link', { name: 'Erase the records of a person' }).click();
  await expect(page.getByRole('heading', { name: 'Choose the records first' })).toBeVisible();
  await page.goto(`${url}#/erase?${RANGE}&field.ms=%3E1&field.ms=%3C5`);
  await expect(page.getByText('one condition on ms')).toBeVisible();
  await page.goto(`${url}#/erase?${RANGE}&field.user=zeno`);
  await page.getByRole('button', { name: 'Count what would be erased' }).click();
  await expect(page.getByRole('heading', { name: '0 records would be erased', exact: true })).toBeVisible();
  await expect(page.getByRole('button', { name: 'Erase …' })).toBeDisabled();
  await page.goto(`${url}#/logs`);
  await expect(page.getByRole('button', { name: 'Alert on these filters' })).toBeVisible();
  await expect(page.getByRole('button', { name: 'Erase these records' })).toHaveCount(0);
});

test('a key that may only read is not offered an erasure', async ({ page, app, url }) => {
  const body = { scopes: ['read'] };
  const { api_key } = await app.call<{ api_key: string }>('POST', `/apps/${app.id}/keys`, body);
  await page.goto(`${url}#/logs?level=ERROR`);
  await logIn(page, api_key);
  await expect(page.getByText('No record matches')).toBeVisible();
  await expect(page.getByRole('button', { name: 'Erase these records' })).toHaveCount(0);
  await page.goto(`${url}#/erase?${RANGE}&level=ERROR`);
  await expect(page.getByRole('heading', { name: 'This credential may not erase records' })).toBeVisible();
  await expect(page.getByRole('button', { name: /Count|Erase/ })).toHaveCount(0);
});
