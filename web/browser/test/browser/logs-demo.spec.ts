/** A walk through the example pages for logs on the real stack, as a person takes it. */

import { type Demo, problemsOf, startDemo } from '../support/demo.ts';
import { expect, test } from '../support/fixtures.ts';
import { NO_STACK, stack } from '../support/stack.ts';

test.skip(stack() === null, NO_STACK);

let demo: Demo;

test.beforeAll(async () => {
  demo = await startDemo();
});

test.afterAll(() => demo.stop());

test('a person logs, uploads, closes the tab with lines in it, and finds everything', async ({ context }) => {
  const problems = problemsOf(context);
  let page = await context.newPage();
  await page.goto(demo.site);
  await page.getByRole('link', { name: 'Logs' }).click();
  await expect(page.locator('#host')).toHaveText('shared');
  await page.getByLabel('Message').fill('the basket is empty');
  await page.getByRole('button', { name: 'Warn' }).click();
  await page.getByLabel('Message').fill('password=hunter2 was refused');
  await page.getByRole('button', { name: 'Info' }).click();
  await page.getByRole('button', { name: 'Upload now' }).click();
  await expect(page.locator('#last')).toHaveText('2 lines in 1 file(s)');
  await expect(page.locator('#arrived tr', { hasText: 'the basket is empty' })).toHaveCount(1, {
    timeout: 30_000,
  });
  await expect(page.locator('#arrived tr', { hasText: '[redacted]' })).toHaveCount(1);
  if (process.env.LOGFERRY_WEB_SCREENSHOTS) {
    await page.screenshot({ path: `${process.env.LOGFERRY_WEB_SCREENSHOTS}/web-logs.png` });
  }
  await page.getByLabel('Message').fill('last words');
  await page.getByRole('button', { name: 'Error' }).click();
  await page.close({ runBeforeUnload: true });
  page = await context.newPage();
  await page.goto(`${demo.site}logs.html`);
  await expect(page.locator('#arrived tr', { hasText: 'last words' })).toHaveCount(1, { timeout: 30_000 });
  await page.goto(`${demo.site}s3-logger.html`);
  await expect(page.locator('#logger')).toHaveText('Successfully uploaded 4 logs');
  await expect(page.locator('#worker')).toHaveText(
    /Worker ready\s+Upload complete: Successfully uploaded 1 logs/,
  );
  expect(problems).toEqual([]);
});
