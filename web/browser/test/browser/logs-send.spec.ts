/** Behaviours 1 to 6, 13, 14: what is sent arrives exactly once, whatever happens to requests. */

import { expect, HOSTS, test } from '../support/fixtures.ts';
import { eventually, expectExactly, flush, logLines, startLogger, stats } from '../support/logs.ts';

for (const host of HOSTS) {
  test.describe(`on the ${host} host`, () => {
    test('1 lines logged while a PUT hangs go with the next file', async ({ lab, server }) => {
      server.fault('put', { delayMs: 700 });
      await startLogger(lab, server, { host });
      await logLines(lab, 0, 1_000);
      const first = flush(lab);
      await eventually(() => server.count('put') === 1);
      await logLines(lab, 1_000, 2_000);
      const summaries = [await first, await flush(lab)];
      expect(summaries[0]?.uploaded).toBe(1_000);
      expectExactly(server, 0, 2_000);
      expect((await stats(lab)).host).toBe(host);
    });

    test('2 a PUT whose answer is lost twice is sent again under its key', async ({ lab, server }) => {
      server.fault('put', 'lost-answer', 2);
      await startLogger(lab, server, { host });
      await logLines(lab, 0, 500);
      const { uploaded, files } = await flush(lab);
      expect(uploaded).toBe(500);
      const puts = server.of('put');
      expect(puts.map(({ status }) => status)).toEqual([0, 0, 412]);
      expect(new Set(puts.map(({ key }) => key)).size).toBe(1);
      expect(files.map(({ key }) => key)).toEqual([puts[0]?.key]);
      expectExactly(server, 0, 500);
    });

    test('3 a connection cut before anything is stored is retried', async ({ lab, server }) => {
      server.fault('put', 'cut', 2);
      await startLogger(lab, server, { host });
      await logLines(lab, 0, 500);
      await flush(lab);
      expect(server.count('put')).toBe(3);
      expect(server.count('grant')).toBe(1);
      expectExactly(server, 0, 500);
    });

    test('4 an expired URL is replaced by a new one', async ({ lab, server }) => {
      server.fault('put', { status: 403 });
      await startLogger(lab, server, { host });
      await logLines(lab, 0, 500);
      await flush(lab);
      expect(server.count('grant')).toBe(2);
      expectExactly(server, 0, 500);
    });

    test('5 after a lost answer and an expired URL the service is asked, and nothing is sent again', async ({
      lab,
      server,
    }) => {
      server.fault('put', { lostAfterMs: 1_200 });
      server.urlLifetimeMs = 1_000;
      await startLogger(lab, server, { host });
      await logLines(lab, 0, 500);
      const { uploaded } = await flush(lab);
      expect(uploaded).toBe(500);
      expect([server.count('put'), server.count('grant')]).toEqual([1, 1]);
      expect(server.count('status')).toBe(1);
      expectExactly(server, 0, 500);
    });

    test('6 an expired token is replaced by one question to getToken', async ({ lab, server }) => {
      server.badTokens.add('old');
      await lab.evaluate(() => {
        window.token = (reason) => (reason === 'expired' ? 'new' : 'old');
      });
      await startLogger(lab, server, { host });
      await logLines(lab, 0, 100);
      await flush(lab);
      expect(await lab.evaluate(() => window.asked)).toEqual(['start m-1', 'expired m-1']);
      expectExactly(server, 0, 100);
    });

    test('13 lines logged offline arrive soon after the network is back', async ({
      lab,
      server,
      context,
    }) => {
      await startLogger(lab, server, { host, autoUpload: true, flushIntervalMs: 200 });
      await logLines(lab, 0, 10);
      await flush(lab);
      // Playwright's offline mode gives pages their events, and does not reach shared workers.
      await context.setOffline(true);
      server.fault('grant', 'cut', Number.POSITIVE_INFINITY);
      await logLines(lab, 10, 260);
      await eventually(async () => (await stats(lab)).error !== undefined);
      server.clearFaults();
      await context.setOffline(false);
      await eventually(async () => (await stats(lab)).entries === 0);
      expectExactly(server, 0, 260);
    });

    test('14 a flood that does not compress is split into files that the service takes', async ({
      lab,
      server,
    }) => {
      await startLogger(lab, server, { host });
      for (let part = 0; part < 5; part += 1) {
        await lab.evaluate((part) => {
          const random = () => {
            // 50 KiB of base64.
            const bytes = crypto.getRandomValues(new Uint8Array(37.5 * 1024));
            return btoa(String.fromCharCode(...bytes));
          };
          for (let n = 0; n < 103; n += 1) window.log.info(`line ${part * 103 + n} ${random()}`);
        }, part);
      }
      const { files } = await flush(lab, 120_000);
      // 16 MiB of these lines make more than 10 MiB, so that a part is halved.
      expect(files.length).toBeGreaterThan(2);
      expect(server.of('grant').map(({ status }) => status)).toEqual(files.map(() => 200));
      const sizes = server.of('put').map(({ body }) => body.length);
      expect(Math.max(...sizes)).toBeLessThanOrEqual(10 * 1024 * 1024);
      expect(sizes.reduce((sum, size) => sum + size, 0)).toBeGreaterThan(18 * 1024 * 1024);
      expectExactly(server, 0, 515);
    });

    test('6 a token that is always refused is asked for once, and the lines stay', async ({
      lab,
      server,
    }) => {
      server.badTokens.add('good');
      await startLogger(lab, server, { host, autoUpload: true });
      await logLines(lab, 0, 100);
      for (let n = 0; n < 3; n += 1) {
        const failed = await lab.evaluate(() =>
          window.log.flush({ timeoutMs: 2_000 }).then(
            () => null,
            (error) => ({ name: error.name, code: error.code, message: error.message }),
          ),
        );
        expect(failed).toMatchObject({ name: 'LogferryError', code: 'AUTH_FAILED' });
      }
      expect(await lab.evaluate(() => window.asked)).toEqual(['start m-1', 'expired m-1']);
      expect((await stats(lab)).entries).toBe(100);
    });
  });
}

test('29 a flush until ingested waits for the service', async ({ lab, server }) => {
  await startLogger(lab, server);
  await logLines(lab, 0, 10);
  const { files } = await lab.evaluate(() => window.log.flush({ until: 'ingested' }));
  expect(files).toMatchObject([{ lines: 10, status: 'COMPLETED', counts: { processed: 10 } }]);
});
