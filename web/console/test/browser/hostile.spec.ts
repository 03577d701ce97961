/** Records that attack their readers are shown as text. */

import { expect, open, rows, test } from '../support/fixtures.ts';

const MARKUP = '<img src=x onerror="document.title=\'owned\'"><script>document.title="owned"</script>';

test('markup, colours of terminals and direction marks are text', async ({ page, app, url }) => {
  await app.call('POST', '/logs', {
    logs: [
      { level: 'info', message: MARKUP, context: { [MARKUP]: MARKUP, url: 'javascript:alert(1)' } },
      {
        level: 'info',
        message: '\u001b[31mred\u001b[0m and \u001b]8;;https://evil.example\u0007link\u001b]8;;\u0007',
      },
      { level: 'info', message: 'admin\u202Etxt.exe \u2067 and \u0000' },
      { level: 'info', message: 'مرحبا بالعالم' },
    ],
  });
  await open(page, url, '#/logs', app.key);
  await expect(rows(page)).toHaveCount(4);
  for (const button of await page.getByRole('button', { name: /^Record of/ }).all()) await button.click();
  await expect(rows(page).filter({ hasText: MARKUP })).toHaveCount(1);
  await expect(page.locator('.row img, .row script, .row a')).toHaveCount(0);
  await expect(page.locator('.ansi-red').first()).toHaveText('red');
  await expect(rows(page).filter({ hasText: 'U+202E' })).toHaveCount(1);
  await page.getByRole('button', { name: 'Stored entry' }).first().click();
  expect(await page.title()).toContain('Logs');
});

test('a message of a mebibyte is shown in steps', async ({ page, app, url }) => {
  const message = `begin ${'x'.repeat(1_000_000)} end`;
  await app.call('POST', '/logs', { level: 'warn', message });
  await open(page, url, '#/logs', app.key);
  await page.getByRole('button', { name: /^Record of/ }).click();
  await expect(page.locator('.detail-message')).toContainText('begin x');
  const shown = async () => ((await page.locator('.detail-message').textContent()) ?? '').length;
  expect(await shown()).toBeLessThan(20_000);
  await page.getByRole('button', { name: /more characters/ }).click();
  expect(await shown()).toBeGreaterThan(60_000);
  await page.getByRole('button', { name: /^Record of/ }).click();
  await expect(page.locator('.detail')).toHaveCount(0);
});

test('ten thousand members are shown a hundred at a time', async ({ page, app, url }) => {
  const context = Object.fromEntries(Array.from({ length: 10_000 }, (_, n) => [`member${n}`, n]));
  await app.call('POST', '/logs', { level: 'info', message: 'wide', context });
  await open(page, url, '#/logs', app.key);
  await page.getByRole('button', { name: /^Record of/ }).click();
  await expect(page.getByText('member99', { exact: true })).toBeVisible();
  await expect(page.getByText('member100', { exact: true })).toHaveCount(0);
  await page.getByRole('button', { name: '9900 more' }).click();
  await expect(page.getByText('member199', { exact: true })).toBeVisible();
});
