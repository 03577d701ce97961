/** Downloads of records, and the histogram, when something goes wrong. */

import { expect, open, test } from '../support/fixtures.ts';

/** Pages of a download, not those of the list. */
const DOWNLOADED = /\/v1\/logs\?.*limit=1000/;

test('a download says how many blocks it lacks', async ({ page, app, url }) => {
  await open(page, url, '#/logs', app.key);
  await page.route(DOWNLOADED, (route) => {
    const cursor = new URL(route.request().url()).searchParams.has('cursor') ? null : 'next';
    return route.fulfill({ json: { ok: true, data: [], cursor, skipped: 2 } });
  });
  await page.getByRole('button', { name: 'Download', exact: true }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('button', { name: 'Download' }).click();
  await expect(dialog).toContainText('4 blocks of records could not be read and are missing');
  await expect(dialog).not.toContainText('all of them');
});

test('a download ends when its page is left', async ({ page, app, url }) => {
  await open(page, url, '#/logs', app.key);
  // Never answered.
  await page.route(DOWNLOADED, () => {});
  await page.getByRole('button', { name: 'Download', exact: true }).click();
  const asked = page.waitForRequest(DOWNLOADED);
  await page.getByRole('dialog').getByRole('button', { name: 'Download' }).click();
  await asked;
  const ended = page.waitForEvent('requestfailed', (request) => DOWNLOADED.test(request.url()));
  await page.goto(`${url}#/overview`);
  expect((await ended).failure()?.errorText).toBe('net::ERR_ABORTED');
});

test('why records could not be counted is shown, and they are counted again', async ({ page, app, url }) => {
  const error = { code: 'INTERNAL', message: 'the counters could not be read' };
  await page.route('**/v1/logs/counts**', (route) =>
    route.fulfill({ status: 500, json: { ok: false, error } }),
  );
  await open(page, url, '#/logs', app.key);
  await expect(page.getByText('the counters could not be read')).toBeVisible();
  await page.unroute('**/v1/logs/counts**');
  await page.getByRole('button', { name: 'Count again' }).click();
  await expect(page.getByRole('img', { name: /records in this range/ })).toBeVisible();
});
