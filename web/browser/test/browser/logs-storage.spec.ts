/** Behaviours 7 and 15 to 19: tabs side by side, limits, and browsers in which something is missing. */

import type { Page } from '@playwright/test';
import type { FaultServer } from '../support/fault-server.ts';
import { expect, HOSTS, openLab, test } from '../support/fixtures.ts';
import { linesOf, storedLines } from '../support/log-routes.ts';
import {
  before,
  eventually,
  expectExactly,
  flush,
  logLines,
  startLogger,
  stats,
  storedNumbers,
} from '../support/logs.ts';
import { Profile } from '../support/persistent.ts';

async function twoTabs(
  page: Page,
  server: FaultServer,
  host: (typeof HOSTS)[number],
  lines: number,
): Promise<void> {
  const other = await page.context().newPage();
  await openLab(other, server);
  server.fault('put', { delayMs: 200 }, 4);
  for (const tab of [page, other]) await startLogger(tab, server, { host });
  await Promise.all([logLines(page, 0, lines), logLines(other, lines, 2 * lines)]);
  await Promise.all([flush(page), flush(other)]);
  expectExactly(server, 0, 2 * lines);
  expect(server.mostOpen.get('put')).toBe(1);
}

for (const host of HOSTS) {
  test.describe(`on the ${host} host`, () => {
    test('7 two tabs that log and upload at once', async ({ lab, server }) => {
      await twoTabs(lab, server, host, 3_000);
    });

    test('15 over the limit the newest lines stay and the next file says how many were dropped', async ({
      lab,
      server,
    }) => {
      await startLogger(lab, server, { host, maxEntries: 500 });
      await lab.evaluate(() => {
        document.title = '0';
        window.log.on('dropped', ({ count }) => {
          document.title = String(Number(document.title) + count);
        });
      });
      server.fault('grant', 'cut', 1);
      for (let n = 0; n < 2_000; n += 500) await logLines(lab, n, n + 500);
      const { uploaded, dropped } = await flush(lab);
      expect(uploaded).toBeGreaterThanOrEqual(400);
      expect(uploaded + dropped).toBe(2_000);
      expect(await lab.title()).toBe(String(dropped));
      expectExactly(server, 2_000 - uploaded, 2_000);
      expect(storedLines(server).at(-1)).toContain(`logferry: dropped ${dropped} entries (limit)`);
    });

    test('17 without IndexedDB, with one that throws or one that never opens, logging works', async ({
      lab,
      server,
    }) => {
      const stubs = {
        missing: 'undefined',
        throwing: '{ open() { throw new DOMException("denied", "SecurityError"); } }',
        blocked: '{ open() { return new EventTarget(); } }',
      };
      let first = 0;
      for (const [name, stub] of Object.entries(stubs)) {
        before(server, `Object.defineProperty(self, "indexedDB", { value: ${stub} })`);
        await openLab(lab, server, `?${name}`);
        await startLogger(lab, server, { host });
        await logLines(lab, first, first + 100);
        await flush(lab);
        expect((await stats(lab)).storage, name).toBe('memory');
        await lab.evaluate(() => window.log.destroy());
        first += 100;
        expectExactly(server, 0, first);
        // Shared workers of one address are one: the next stub needs another.
        if (host === 'shared') await lab.goto('about:blank');
      }
    });

    test('17 a connection that closes under us is reopened and no line is doubled', async ({
      lab,
      server,
    }) => {
      before(
        server,
        `const real = IDBDatabase.prototype.transaction; let calls = 0;
         IDBDatabase.prototype.transaction = function (...all) {
           calls += 1;
           if (calls % 4 === 0) this.close();
           return real.apply(this, all);
         }`,
      );
      await openLab(lab, server);
      await startLogger(lab, server, { host });
      for (let n = 0; n < 1_000; n += 100) {
        await logLines(lab, n, n + 100);
        await stats(lab);
      }
      await flush(lab);
      expect((await stats(lab)).storage).toBe('indexeddb');
      expectExactly(server, 0, 1_000);
    });

    test('18 without CompressionStream a plain file is sent', async ({ lab, server }) => {
      before(server, 'delete self.CompressionStream');
      await openLab(lab, server);
      await startLogger(lab, server, { host });
      await logLines(lab, 0, 100);
      await flush(lab);
      const [put] = server.of('put');
      expect(put?.body[0]).not.toBe(0x1f);
      expect(linesOf(put?.body ?? Buffer.alloc(0))).toHaveLength(100);
    });

    test('18 without Web Locks two tabs take turns', async ({ lab, server }) => {
      before(server, 'Object.defineProperty(navigator, "locks", { value: undefined })');
      await openLab(lab, server);
      await twoTabs(lab, server, host, 500);
    });
  });
}

for (const host of HOSTS) {
  test(`16 with a full disk lines go to memory and on from there, and what is dropped is counted (${host})`, async ({
    server,
  }) => {
    const profile = new Profile();
    const context = await profile.launch();
    try {
      const page = await context.newPage();
      await openLab(page, server);
      const cdp = await context.newCDPSession(page);
      await cdp.send('Storage.overrideQuotaForOrigin', { origin: server.site, quotaSize: 3 * 1024 * 1024 });
      await startLogger(page, server, { host });
      const noise = (from: number, to: number) =>
        page.evaluate(
          ([from, to]) => {
            for (let n = from; n < to; n += 1) {
              const bytes = crypto.getRandomValues(new Uint8Array(24 * 1024));
              window.log.info(`line ${n} ${btoa(String.fromCharCode(...bytes))}`);
            }
          },
          [from, to] as const,
        );
      let logged = 0;
      for (; logged < 400 && (await stats(page)).storage === 'indexeddb'; logged += 10) {
        await noise(logged, logged + 10);
      }
      expect((await stats(page)).storage).toBe('memory');
      await noise(logged, logged + 20);
      const last = await page.evaluate(() =>
        window.log.flush({ timeoutMs: 5_000 }).then(
          () => 'stored',
          (error) => error.code,
        ),
      );
      test.info().annotations.push({ type: 'seen', description: `flush with a full disk: ${last}` });
      const stored = storedNumbers(server);
      for (let n = logged; n < logged + 20; n += 1) expect(stored).toContain(n);
      expect(new Set(stored).size).toBe(stored.length);
      const { entries, dropped } = await stats(page);
      expect(stored.length + entries + dropped).toBe(logged + 20);
    } finally {
      await context.close();
      profile.remove();
    }
  });
}

test.describe('19 a worker that does not start', () => {
  const failures: Record<string, (server: FaultServer) => string> = {
    'a content security policy': () =>
      `?csp=${encodeURIComponent("default-src 'self'; worker-src 'none'; connect-src *; script-src 'self'")}`,
    'a 404': (server) => {
      server.site_.set('/dist/log-worker.js', { status: 404, body: 'no' });
      return '';
    },
    'a wrong type': (server) => {
      server.site_.set('/dist/log-worker.js', {
        status: 200,
        headers: { 'content-type': 'text/html' },
        body: '<p>',
      });
      return '';
    },
  };
  for (const [name, fail] of Object.entries(failures)) {
    test(`19 because of ${name} gives way to the page, with every line`, async ({ page, server }) => {
      await openLab(page, server, fail(server));
      await startLogger(page, server, { host: 'auto' });
      await logLines(page, 0, 100);
      await flush(page);
      expect((await stats(page)).host).toBe('main');
      expectExactly(server, 0, 100);
    });
  }

  test('19 or that fails again and again is replaced, at last by the page, with every line', async ({
    page,
    server,
  }) => {
    before(server, 'setTimeout(() => { throw new Error("failing"); }, 300)');
    await openLab(page, server);
    await startLogger(page, server, { host: 'dedicated' });
    for (let n = 0; n < 1_000; n += 100) {
      await logLines(page, n, n + 100);
      await stats(page);
    }
    await eventually(async () => (await stats(page)).host === 'main');
    await logLines(page, 1_000, 1_100);
    await flush(page);
    expectExactly(server, 0, 1_100);
  });

  test('19 because there is no SharedWorker gives way to a dedicated one', async ({ lab, server }) => {
    await lab.evaluate(() => {
      Object.defineProperty(window, 'SharedWorker', { value: undefined });
    });
    await startLogger(lab, server, { host: 'auto' });
    await logLines(lab, 0, 100);
    await flush(lab);
    expect((await stats(lab)).host).toBe('dedicated');
    expectExactly(server, 0, 100);
    await eventually(() => server.count('put') === 1);
  });
});

test('27 a tab that freezes during a run holds others up for two minutes at most', async ({
  lab,
  server,
}) => {
  test.skip(!process.env.LOGFERRY_WEB_LONG, 'takes two minutes: LOGFERRY_WEB_LONG=1');
  test.setTimeout(240_000);
  await startLogger(lab, server, { host: 'dedicated' });
  await logLines(lab, 0, 100);
  server.fault('put', { delayMs: 200_000 });
  await lab.evaluate(() => {
    window.log.flush().catch(() => {});
  });
  await eventually(() => server.count('put') === 1);
  const cdp = await lab.context().newCDPSession(lab);
  await cdp.send('Page.setWebLifecycleState', { state: 'frozen' });
  const other = await lab.context().newPage();
  await openLab(other, server);
  await startLogger(other, server, { host: 'dedicated' });
  await logLines(other, 100, 200);
  // The frozen tab's put alone takes 200 s.
  await flush(other, 180_000);
  await cdp.send('Page.setWebLifecycleState', { state: 'active' });
  await eventually(() => storedNumbers(server).length >= 200, 60_000);
  expectExactly(server, 0, 200);
});
