/** Behaviour 50: the log client in a stock Firefox, driven over WebDriver BiDi. */

import assert from 'node:assert/strict';
import test from 'node:test';
import type { Page } from 'puppeteer-core';
import { FaultServer } from '../support/fault-server.ts';
import { asPlaywright, firefox } from '../support/firefox.ts';
import { flush, logLines, logUntilForm, startLogger, stats, storedNumbers } from '../support/logs.ts';

const HOSTS = ['shared', 'dedicated'] as const;

const browser = firefox();

async function open(server: FaultServer): Promise<Page> {
  const page = await browser().newPage();
  await page.goto(`${server.site}/lab.html`);
  await until(() => page.evaluate(() => 'logs' in window));
  return page;
}

async function until(check: () => boolean | Promise<boolean>, withinMs = 15_000): Promise<void> {
  const end = Date.now() + withinMs;
  while (!(await check())) {
    if (Date.now() > end) throw new Error(`not within ${withinMs} ms: ${check}`);
    await new Promise((done) => setTimeout(done, 100));
  }
}

function exactly(server: FaultServer, to: number): void {
  assert.deepEqual(
    storedNumbers(server),
    Array.from({ length: to }, (_, n) => n),
  );
}

/** With a server of its own, so an origin and a database of its own. */
async function withServer(f: (server: FaultServer) => Promise<void>): Promise<void> {
  const server = await FaultServer.start();
  try {
    await f(server);
  } finally {
    for (const page of await browser().pages()) if (page.url().startsWith(server.site)) await page.close();
    await server.close();
  }
}

for (const host of HOSTS) {
  test(`50 (1) lines logged while a PUT hangs go with the next file, ${host}`, () =>
    withServer(async (server) => {
      const page = asPlaywright(await open(server));
      server.fault('put', { delayMs: 700 });
      await startLogger(page, server, { host });
      await logLines(page, 0, 1_000);
      const first = flush(page);
      await until(() => server.count('put') === 1);
      await logLines(page, 1_000, 2_000);
      assert.equal((await first).uploaded, 1_000);
      await flush(page);
      assert.equal((await stats(page)).host, host);
      exactly(server, 2_000);
    }));

  test(`50 (2) a PUT whose answer is lost twice is sent again under its key, ${host}`, () =>
    withServer(async (server) => {
      const page = asPlaywright(await open(server));
      server.fault('put', 'lost-answer', 2);
      await startLogger(page, server, { host });
      await logLines(page, 0, 500);
      await flush(page);
      assert.equal(new Set(server.of('put').map(({ key }) => key)).size, 1);
      exactly(server, 500);
    }));

  test(`50 (4) an expired URL is replaced by a new one, ${host}`, () =>
    withServer(async (server) => {
      const page = asPlaywright(await open(server));
      server.fault('put', { status: 403 });
      await startLogger(page, server, { host });
      await logLines(page, 0, 500);
      await flush(page);
      assert.equal(server.count('grant'), 2);
      exactly(server, 500);
    }));

  test(`50 (7) two tabs that log and upload at once, ${host}`, () =>
    withServer(async (server) => {
      const tabs = [asPlaywright(await open(server)), asPlaywright(await open(server))];
      for (const page of tabs) await startLogger(page, server, { host });
      await Promise.all(tabs.map((page, n) => logLines(page, n * 3_000, (n + 1) * 3_000)));
      await Promise.all(tabs.map((page) => flush(page)));
      assert.equal(server.mostOpen.get('put'), 1);
      exactly(server, 6_000);
    }));

  test(`50 (10) 400 lines and a page left in the same moment arrive at the next visit, ${host}`, () =>
    withServer(async (server) => {
      const rounds = 10;
      for (let round = 0; round < rounds; round += 1) {
        const page = await open(server);
        await startLogger(asPlaywright(page), server, { host, autoUpload: true, flushIntervalMs: 60_000 });
        await stats(asPlaywright(page));
        await page.evaluate((from) => {
          for (let n = from; n < from + 400; n += 1) window.log.info(`line ${n}`);
          location.href = '/back.js';
        }, round * 400);
        await until(() => page.url().endsWith('/back.js'));
        await page.close();
      }
      const next = asPlaywright(await open(server));
      await startLogger(next, server, { host, autoUpload: true, flushIntervalMs: 60_000 });
      await until(() => storedNumbers(server).length >= rounds * 400);
      exactly(server, rounds * 400);
    }));

  test(`50 (12) a page that is left for good sends its last lines as a form, ${host}`, () =>
    withServer(async (server) => {
      const page = await open(server);
      await startLogger(asPlaywright(page), server, { host, autoUpload: true, flushIntervalMs: 60_000 });
      const lines = await logUntilForm(asPlaywright(page), 0);
      await page.evaluate((n) => {
        // It keeps the page out of the back/forward cache.
        window.addEventListener('unload', () => {});
        window.log.info(`line ${n}`);
        location.href = '/back.js';
      }, lines);
      await until(() => storedNumbers(server).length === lines + 1);
      const [form, ...more] = server.of('form');
      assert.deepEqual(more, []);
      assert.match(form?.body.toString() ?? '', new RegExp(`line ${lines}\\b`));
      assert.ok(server.of('put').every(({ key }) => key !== form?.key));
      await page.close();
      const next = asPlaywright(await open(server));
      await startLogger(next, server, { host, autoUpload: true, flushIntervalMs: 60_000 });
      await until(async () => (await stats(next)).entries === 0);
      exactly(server, lines + 1);
    }));
}
