/** The other pages, the credential, and accessibility. */

import { gzipSync } from 'node:zlib';
import type { Page } from '@playwright/test';
import { PAGES } from '../../src/route.ts';
import { expect, logIn, open, rows, serious, test } from '../support/fixtures.ts';
import { upload } from '../support/shop.ts';

/** Each page, and the forms that a URL opens. */
const SHOWN = [
  ...PAGES,
  'alerts?new=1',
  'erase',
  'erase?level=ERROR&since=2024-01-01T00:00:00Z&until=2025-01-01T00:00:00Z',
];

async function fileEnds(app: Parameters<typeof upload>[0], key: string): Promise<void> {
  await expect
    .poll(async () => {
      const files = await app.call<{ status: string }[]>('GET', `/files?key=${encodeURIComponent(key)}`);
      return files[0]?.status;
    })
    .toMatch(/COMPLETED|FAILED/);
}

test('a damaged file shows its reason and its bad records, and is read again', async ({ page, app, url }) => {
  const lines = Array.from({ length: 50 }, (_, n) =>
    n === 7 ? '{"level": <b>bad' : `{"level":"info","msg":"row ${n}"}`,
  );
  const whole = gzipSync(lines.join('\n'));
  const mixed = await upload(app, 'mixed.log.gz', whole);
  const cut = await upload(app, 'cut.log.gz', gzipSync(`${lines.join('\n')}\n`.repeat(40)).subarray(0, 200));
  await fileEnds(app, mixed);
  await fileEnds(app, cut);
  await open(page, url, '#/files', app.key);
  await expect(page.getByRole('button', { name: /cut\.log\.gz/ })).toContainText('GZIP_TRUNCATED');
  await page.getByRole('button', { name: /mixed\.log\.gz/ }).click();
  await expect(page.getByText('BROKEN_JSON')).toBeVisible();
  await expect(page.locator('.bad-records pre').first()).toContainText('<b>bad');
  await page.getByRole('button', { name: 'FAILED', exact: true }).click();
  await expect(page.getByRole('button', { name: /mixed\.log\.gz/ })).toHaveCount(0);
  await page.getByRole('button', { name: 'Read failed files again' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Read again' }).click();
  await expect(page.getByRole('dialog')).toHaveCount(0);
});

test('the health page shows what the API says', async ({ page, app, url }) => {
  await open(page, url, '#/health', app.key);
  await expect(page.getByRole('heading', { name: 'No checks yet' })).toBeVisible();
  await app.call('POST', `/apps/${app.id}/health-urls`, { urls: [{ name: 'nightly', heartbeat: '26h' }] });
  await app.call('POST', `/health/${app.id}/nightly/push`, { ok: true, duration_ms: 1_200 });
  await page.getByRole('button', { name: 'Reload' }).click();
  await expect(page.getByRole('heading', { name: 'nightly' })).toBeVisible();
  const [check] = await app.call<{ state: string }[]>('GET', `/health/${app.id}/uptime`);
  await expect(page.locator('.check-card .state')).toHaveText(check?.state ?? '');
  const { length } = await app.call<unknown[]>('GET', `/health/${app.id}?url=nightly`);
  await expect(page.locator('.bars .ok, .bars .failed')).toHaveCount(length);
  const again = [`/health/${app.id}?`, `/health/${app.id}/response-times?`].map((path) =>
    page.waitForResponse((response) => response.url().includes(path)),
  );
  await page.getByRole('button', { name: 'Reload' }).click();
  await Promise.all(again);
});

test('an alert is made from the filters of the logs, and deleted', async ({ page, app, url }) => {
  await open(page, url, '#/logs?level=ERROR&q=payment', app.key);
  await page.getByRole('button', { name: 'Alert on these filters' }).click();
  const form = page.getByRole('dialog');
  await form.getByLabel(/^Name/).fill('payments');
  await expect(form.getByLabel(/^Text/)).toHaveValue('payment');
  await expect(form.getByLabel('ERROR')).toBeChecked();
  await form.getByLabel('Records').fill('2');
  await form.getByRole('button', { name: 'Create' }).click();
  await expect(page.getByText('2 or more of ERROR, “payment” in 5 min')).toBeVisible();
  const [alert] = await app.call<{ filter: unknown; threshold: number }[]>('GET', `/apps/${app.id}/alerts`);
  expect([alert?.filter, alert?.threshold]).toEqual([{ level: 'ERROR', search: 'payment' }, 2]);
  await page.getByRole('button', { name: 'Delete' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await expect(page.getByRole('heading', { name: 'No alerts yet' })).toBeVisible();
});

test('an alert on a text anywhere in the entry says so', async ({ page, app, url }) => {
  await open(page, url, '#/logs?q=payment&in=all', app.key);
  await page.getByRole('button', { name: 'Alert on these filters' }).click();
  const form = page.getByRole('dialog');
  await expect(form.getByLabel('Text anywhere in the entry')).toHaveValue('payment');
  await expect(form.getByText('every record')).toHaveCount(0);
  await form.getByLabel(/^Name/).fill('payments');
  await form.getByRole('button', { name: 'Create' }).click();
  await expect(page.getByRole('link', { name: '“payment” anywhere' })).toBeVisible();
});

test('an alert is not made with one of two conditions on a member', async ({ page, app, url }) => {
  await open(page, url, '#/logs?field.context.ms=%3E%3D100&field.context.ms=%3C500', app.key);
  await page.getByRole('button', { name: 'Alert on these filters' }).click();
  await expect(page.getByText('one condition on context.ms')).toBeVisible();
  await expect(page.getByRole('dialog')).toHaveCount(0);
});

test('links keep UTC and the app', async ({ page, stack, app, url }) => {
  await app.call('POST', '/logs', { level: 'error', message: 'failed' });
  const alert = { name: 'errors', filter: { level: 'ERROR' }, threshold: 1, window_minutes: 5 };
  await app.call('POST', `/apps/${app.id}/alerts`, { ...alert, notify: { webhook: 'https://a.example/' } });
  await open(page, url, `#/overview?app=${app.id}&tz=utc`, stack.adminKey);
  const wish = 'level=ERROR&since=2024-01-01T00:00:00Z&until=2025-01-01T00:00:00Z';
  for (const name of ['overview', 'alerts', 'app', 'erase', `erase?${wish}`]) {
    await show(page, url, `${name}${name.includes('?') ? '&' : '?'}app=${app.id}&tz=utc`);
    const links = await page
      .locator('main a[href^="#"], nav a')
      .evaluateAll((all) => all.map((link) => link.getAttribute('href') ?? ''));
    expect(links.length, name).toBeGreaterThan(7);
    for (const link of links) expect(link, name).toContain(`app=${app.id}&tz=utc`);
  }
  await page.goto(`${url}#/logs?app=${app.id}&tz=utc`);
  await page.getByRole('button', { name: 'Alert on these filters' }).click();
  await expect(page).toHaveURL(/alerts\?.*tz=utc/);
});

test.describe('far from UTC', () => {
  test.use({ timezoneId: 'Asia/Tokyo' });

  test('response times are shown in UTC if the page is', async ({ page, app, url }) => {
    await app.call('POST', `/apps/${app.id}/health-urls`, { urls: [{ name: 'nightly', heartbeat: '26h' }] });
    const bucket = { start: '2026-01-01T12:00:00.000Z', checks: 1, ok: 1, average_ms: 5, max_ms: 5 };
    await page.route('**/response-times**', (route) =>
      route.fulfill({ json: { ok: true, data: { bucket_ms: 1, buckets: [bucket, bucket] } } }),
    );
    await open(page, url, '#/health?tz=utc', app.key);
    await page.getByRole('img', { name: 'Response times' }).hover();
    await expect(page.locator('figcaption')).toContainText('01-01 12:00');
  });
});

test('on a shared computer, an app is registered and deleted without another login', async ({
  page,
  stack,
  app,
  url,
}) => {
  await page.goto(`${url}#/overview?app=${app.id}`);
  await logIn(page, stack.adminKey, { onSharedComputer: true });
  const id = `${app.id}-2`;
  const choices = page.getByRole('combobox', { name: 'App' });
  await page.getByRole('button', { name: 'Register an app' }).click();
  await page.getByLabel(/^Id/).fill(id);
  await page.getByRole('button', { name: 'Register', exact: true }).click();
  await page.getByRole('button', { name: 'Done' }).click();
  await expect(choices.getByRole('option', { name: id, exact: true })).toHaveCount(1);
  await choices.selectOption(id);
  await page.getByRole('link', { name: 'App', exact: true }).click();
  await page.getByRole('button', { name: 'Delete the app' }).click();
  await page.getByRole('dialog').getByRole('textbox').fill(id);
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await expect(page.getByRole('heading', { name: 'Overview' })).toBeVisible();
  await expect(choices.getByRole('option', { name: app.id, exact: true })).toHaveCount(1);
  await expect(choices.getByRole('option', { name: id, exact: true })).toHaveCount(0);
});

test('settings are saved, and a key is minted, shown once and revoked', async ({ page, app, url }) => {
  await open(page, url, '#/app', app.key);
  await page.getByRole('textbox', { name: 'Name' }).fill('Another name');
  await page.getByRole('button', { name: 'Save' }).click();
  await expect(page.getByRole('button', { name: 'Save' })).toBeDisabled();
  expect((await app.call<{ name: string }>('GET', `/apps/${app.id}`)).name).toBe('Another name');
  await page.getByRole('button', { name: 'New key' }).click();
  await page.getByRole('dialog').getByLabel('Name').fill('the shipper');
  await page.getByRole('button', { name: 'Create' }).click();
  await expect(page.getByText('shown this once')).toBeVisible();
  await page.getByRole('button', { name: 'Done' }).click();
  const row = page.getByRole('row', { name: /the shipper/ });
  await row.getByRole('button', { name: 'Revoke' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Revoke' }).click();
  await expect(row).toHaveCount(0);
});

test('a view token logs in, reads, and is offered nothing that changes', async ({ page, app, url }) => {
  await app.call('POST', '/logs', { level: 'info', message: 'to be read' });
  await open(page, url, '#/app', app.key);
  await page.getByRole('button', { name: 'View token for a day' }).click();
  const token = (await page.getByRole('dialog').locator('pre').textContent()) ?? '';
  await page.getByRole('button', { name: 'Done' }).click();
  await page.getByRole('button', { name: 'Log out' }).click();
  await logIn(page, token);
  await page.getByRole('link', { name: 'Logs' }).click();
  await expect(rows(page).first()).toContainText('to be read');
  await page.getByRole('link', { name: 'App', exact: true }).click();
  await expect(page.getByRole('heading', { name: 'Keys' })).toBeVisible();
  await expect(page.getByRole('button', { name: /New key|Revoke|Delete|Save/ })).toHaveCount(0);
});

test('the key is in no URL and not in localStorage, and after the logout nothing is left', async ({
  page,
  app,
  url,
}) => {
  const urls: string[] = [];
  page.on('request', (request) => urls.push(`${request.url()} ${request.headers().referer ?? ''}`));
  await app.call('POST', '/logs', { level: 'info', message: 'a secret record' });
  await open(page, url, '#/logs', app.key);
  await expect(rows(page)).toHaveCount(1);
  await page.reload();
  await expect(rows(page)).toHaveCount(1);
  expect(urls.filter((one) => one.includes(app.key))).toEqual([]);
  const kept = () =>
    page.evaluate(() =>
      JSON.stringify([{ ...localStorage }, { ...sessionStorage }, location.href, document.cookie]),
    );
  expect(await page.evaluate(() => JSON.stringify({ ...localStorage }))).toBe('{}');
  await page.getByRole('button', { name: 'Log out' }).click();
  await expect(page.getByRole('button', { name: 'Log in' })).toBeVisible();
  expect(await kept()).not.toContain(app.key);
  expect(await page.content()).not.toContain('a secret record');
});

test('on a shared computer the key is gone after a reload', async ({ page, app, url }) => {
  await page.goto(`${url}#/logs`);
  await logIn(page, app.key, { onSharedComputer: true });
  expect(await page.evaluate(() => sessionStorage.length)).toBe(0);
  await page.reload();
  await expect(page.getByRole('button', { name: 'Log in' })).toBeVisible();
});

for (const colorScheme of ['light', 'dark'] as const) {
  test(`no page has a serious finding of axe, ${colorScheme}`, async ({ page, app, url }) => {
    await page.emulateMedia({ colorScheme });
    const now = Date.now();
    const logs = Array.from({ length: 40 }, (_, n) => ({
      level: ['debug', 'info', 'warn', 'error'][n % 4],
      message: `\u001b[3${n % 8}mcoloured\u001b[0m record ${n} \u202E`,
      timestamp: new Date(now - n * 60_000).toISOString(),
      context: { user: { id: n }, ok: true, none: null },
    }));
    await app.call('POST', '/logs', { logs });
    await app.call('POST', `/apps/${app.id}/health-urls`, { urls: [{ name: 'nightly', heartbeat: '26h' }] });
    await app.call('POST', `/health/${app.id}/nightly/push`, { ok: true });
    await fileEnds(app, await upload(app, 'x.log.gz', gzipSync('{"level":"info"}\n{bad')));
    await page.goto(url);
    expect(await serious(page), 'login').toEqual([]);
    await open(page, url, '#/overview', app.key);
    for (const name of [...SHOWN, 'logs?q=record&live=1', 'logs?level=ERROR&q=nothing']) {
      await show(page, url, name);
      if (name.startsWith('logs?q=record')) {
        await page
          .getByRole('button', { name: /^Record of/ })
          .first()
          .click();
        await page.getByRole('button', { name: /Last 24 hours/ }).click();
      }
      if (name === 'files') await page.locator('.file-line').first().click();
      expect(await serious(page), name).toEqual([]);
    }
    await page.keyboard.press('?');
    await expect(page.getByRole('dialog')).toBeVisible();
    expect(await serious(page), 'keys').toEqual([]);
  });
}

test('the keyboard alone reaches everything on the page of logs', async ({ page, app, url }) => {
  await app.call('POST', '/logs', { level: 'info', message: 'one' });
  await open(page, url, '#/logs', app.key);
  await expect(rows(page)).toHaveCount(1);
  const reached = new Set<string>();
  await page.evaluate(() => (document.activeElement as HTMLElement | null)?.blur());
  for (let n = 0; n < 60; n++) {
    await page.keyboard.press('Tab');
    const name = await page.evaluate(() => {
      const element = document.activeElement;
      return element?.getAttribute('aria-label') ?? element?.textContent?.trim() ?? '';
    });
    if (name) reached.add(name);
  }
  for (const name of ['To the content', 'Overview', 'App', 'Log out', 'ERROR', 'Live', 'Last 24 hours']) {
    expect(
      [...reached].some((one) => one.includes(name)),
      `${name} of ${[...reached].join('; ')}`,
    ).toBe(true);
  }
  expect([...reached].some((one) => one.startsWith('Record of'))).toBe(true);
});

test('the keyboard alone reaches every link, button and field of every page', async ({ page, app, url }) => {
  await app.call('POST', '/logs', { level: 'info', message: 'one', context: { user: 'ada' } });
  await app.call('POST', `/apps/${app.id}/health-urls`, { urls: [{ name: 'nightly', heartbeat: '26h' }] });
  await fileEnds(app, await upload(app, 'x.log.gz', gzipSync('{"level":"info"}\n{bad')));
  await open(page, url, '#/overview', app.key);
  for (const name of SHOWN) {
    await show(page, url, name);
    expect(await unreached(page), name).toEqual([]);
  }
});

/** What can be used on a page and never has the focus while Tab goes once around. */
async function unreached(page: Page): Promise<string[]> {
  const wanted = await page.evaluate(() => {
    const usable = 'a[href], button:enabled, input:enabled, select:enabled, textarea:enabled, summary';
    // While a dialog is open, nothing else can be used.
    const within = document.querySelector('dialog[open]') ?? document;
    const seen = [...within.querySelectorAll<HTMLElement>(usable)].filter((one) => one.checkVisibility());
    for (const [n, element] of seen.entries()) element.dataset.reach = String(n);
    (document.activeElement as HTMLElement | null)?.blur();
    return seen.map((one) => `${one.tagName} ${one.getAttribute('aria-label') ?? one.textContent?.trim()}`);
  });
  const reached = new Set<string>();
  // Once around, and what has come meanwhile.
  for (let n = 0; n < wanted.length * 2 + 20 && reached.size < wanted.length; n++) {
    await page.keyboard.press('Tab');
    const at = await page.evaluate(() => (document.activeElement as HTMLElement | null)?.dataset.reach);
    if (at !== undefined) reached.add(at);
  }
  return wanted.filter((_, n) => !reached.has(String(n)));
}

/** Opens a page of the console, and waits until its data is there. */
async function show(page: Page, url: string, name: string) {
  await page.goto(`${url}#/${name}`);
  const title = name.replace(/\?.*/, '').replace(/^./, (first) => first.toUpperCase());
  await expect(page.locator('main h1')).toHaveText(title);
  if (name === 'app') await expect(page.getByRole('heading', { name: 'Keys' })).toBeVisible();
  await expect(page.locator('main .loading')).toHaveCount(0);
}

for (const width of [360, 1280, 3840]) {
  test(`nothing overflows at ${width} pixels`, async ({ page, app, url }) => {
    await page.setViewportSize({ width, height: 800 });
    const message = 'a long message without a space: '.concat('x'.repeat(4_000));
    await app.call('POST', '/logs', {
      logs: [{ level: 'error', message, context: { ['k'.repeat(300)]: 'v'.repeat(300) } }],
    });
    await open(page, url, '#/overview', app.key);
    const wide = `erase?field.${'k'.repeat(300)}=x&since=2024-01-01T00:00:00Z&until=2025-01-01T00:00:00Z`;
    for (const name of [...SHOWN, 'logs?wrap=1', wide]) {
      await show(page, url, name);
      if (name.startsWith('logs'))
        await page
          .getByRole('button', { name: /^Record of/ })
          .first()
          .click();
      const wider = await page.evaluate(() => {
        const boxes = [document.documentElement, document.querySelector('main') as HTMLElement];
        return Math.max(...boxes.map((box) => box.scrollWidth - box.clientWidth));
      });
      expect(wider, `${name} is wider than the window`).toBeLessThanOrEqual(0);
    }
  });
}
