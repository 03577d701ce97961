// A walk through the example page on the real stack: what a person sees.
import { type Demo, problemsOf, startDemo } from '../support/demo.ts';
import { expect, test } from '../support/fixtures.ts';
import { NO_STACK, stack } from '../support/stack.ts';
import { diskFile, MIB } from '../support/upload-lab.ts';

test.skip(stack() === null, NO_STACK);

let demo: Demo;

test.beforeAll(async () => {
  demo = await startDemo();
});

test.afterAll(() => demo.stop());

test('a person uploads, limits, pauses, leaves, reloads and closes the tab, and everything arrives', async ({
  context,
}) => {
  const problems = problemsOf(context);
  let page = await context.newPage();
  await page.goto(`${demo.site}uploads.html`);
  await expect(page.locator('#host')).toHaveText('shared');
  await page.getByLabel('Limit').selectOption('5 MiB/s');
  await page
    .getByLabel('Files')
    .setInputFiles([diskFile(40 * MIB, 'film.mp4').path, diskFile(MIB, 'photo.jpg').path]);
  const film = page.locator('li', { hasText: 'film.mp4' });
  await expect(film).toHaveAttribute('data-status', 'uploading');
  await expect(page.locator('li', { hasText: 'photo.jpg' })).toHaveAttribute('data-status', 'queued');
  await film.getByText('pause').click();
  await expect(film).toHaveAttribute('data-status', 'paused');
  await expect(page.locator('li', { hasText: 'photo.jpg' })).toHaveAttribute('data-status', 'completed');
  await film.getByText('resume').click();
  await expect(film.getByText(/MiB\/s/)).toBeVisible();
  if (process.env.LOGFERRY_WEB_SCREENSHOTS) {
    await page.screenshot({ path: `${process.env.LOGFERRY_WEB_SCREENSHOTS}/web-uploads.png` });
  }
  await page.getByText('Another page').click();
  await page.getByText('Back to the uploads').click();
  await expect(film).toHaveAttribute('data-status', 'uploading');
  await page.reload();
  await expect(film).toHaveAttribute('data-status', 'uploading');
  await page.close();
  page = await context.newPage();
  await page.goto(`${demo.site}uploads.html`);
  await page.getByLabel('Limit').selectOption('none');
  await expect(page.locator('li', { hasText: 'film.mp4' })).toHaveAttribute('data-status', 'completed');
  await expect(page.locator('#arrived tr', { hasText: 'COMPLETED' })).toHaveCount(2);
  await expect(page.locator('#problem')).toBeEmpty();
  expect(problems).toEqual([]);
});
