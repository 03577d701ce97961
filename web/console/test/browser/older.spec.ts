/** Pages of older records that fail, and those without a record. */

import type { Page } from '@playwright/test';
import { expect, open, rows, test } from '../support/fixtures.ts';

const record = (n: number) => ({
  id: `r${n}`,
  timestamp: new Date(Date.now() - n * 1_000).toISOString(),
  level: 'INFO',
  message: `record ${n}`,
});

/** Answers `GET /logs` by the number of the page; returns the pages that were asked for. */
async function paged(
  page: Page,
  answer: (n: number) => { status?: number; json: object },
): Promise<number[]> {
  const asked: number[] = [];
  await page.route('**/v1/logs?**', (route) => {
    const n = Number(new URL(route.request().url()).searchParams.get('cursor') ?? 0);
    asked.push(n);
    return route.fulfill(answer(n));
  });
  return asked;
}

const found = (n: number, data: object[], last: number) => ({
  json: { ok: true, data, cursor: n < last ? String(n + 1) : null, skipped: 0 },
});

test('a page of older records that fails is asked for once, and again when the reader says so', async ({
  page,
  app,
  url,
}) => {
  let down = true;
  const asked = await paged(page, (n) => {
    const error = { code: 'RATE_LIMITED', message: 'slow down' };
    return n === 1 && down ? { status: 429, json: { ok: false, error } } : found(n, [record(n)], 1);
  });
  await open(page, url, '#/logs', app.key);
  await expect(page.getByRole('alert')).toContainText('slow down');
  // Each of these draws the list again.
  await page.getByRole('button', { name: /^Record of/ }).click();
  await page.keyboard.press('w');
  await expect(page.getByRole('button', { name: /Wrap/ })).toHaveAttribute('aria-pressed', 'true');
  expect(asked).toEqual([0, 1]);
  down = false;
  await page.getByRole('button', { name: 'Try again' }).click();
  await expect(rows(page)).toHaveCount(2);
  await expect(page.getByRole('alert')).toHaveCount(0);
  expect(asked).toEqual([0, 1, 1]);
});

for (const [name, first] of [
  ['below a record', [record(0)]],
  ['from the beginning', []],
] as const) {
  test(`fifty empty pages ${name} end the search until the reader continues it`, async ({
    page,
    app,
    url,
  }) => {
    const asked = await paged(page, (n) => found(n, n === 0 ? [...first] : [], 60));
    await open(page, url, '#/logs', app.key);
    const button = page.getByRole('button', { name: 'Search older records' });
    await expect(button).toBeVisible();
    await expect(rows(page)).toHaveCount(first.length);
    await page.keyboard.press('w');
    await expect(page.getByRole('button', { name: /Wrap/ })).toHaveAttribute('aria-pressed', 'true');
    expect(asked.length).toBe(50 + first.length);
    await button.click();
    await expect(page.getByText(first.length ? 'These are all records' : 'No record matches')).toBeVisible();
    expect(asked.length).toBe(61);
  });
}
