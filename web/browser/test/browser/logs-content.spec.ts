/** Behaviours 21 to 24: what a line says, what it must not say, and what logging costs the page. */

import { expect, HOSTS, openLab, test } from '../support/fixtures.ts';
import { linesOf, storedLines } from '../support/log-routes.ts';
import { flush, logLines, setClockFast, startLogger, stats } from '../support/logs.ts';
import { SECRETS } from '../support/secrets.ts';

for (const host of HOSTS) {
  test.describe(`on the ${host} host`, () => {
    test('21 level, message, context and time arrive as they were logged', async ({ lab, server }) => {
      await startLogger(lab, server, { host, level: 'DEBUG' });
      const times = await lab.evaluate(() => {
        const begin = Date.now();
        const { log } = window;
        log.debug('💥 \u2028 "quoted"', { n: 1, nested: { list: [1, 2] } });
        log.warn('lone \ud83d surrogate');
        log.child({ part: 'cart', request_id: 'r-1' }).error(new Error('boom', { cause: new Error('why') }));
        log.info(() => 'lazy');
        log.info({ not: 'a text' });
        const circular: Record<string, unknown> = { big: 10n, node: document.body };
        circular.self = circular;
        log.info('circular', circular);
        log.info('x'.repeat(300 * 1024));
        return [begin, Date.now()] as const;
      });
      await flush(lab);
      const records = storedLines(server).map((line) => JSON.parse(line));
      expect(records.map(({ level }) => level)).toEqual([
        'debug',
        'warn',
        'error',
        'info',
        'info',
        'info',
        'info',
      ]);
      for (const { time } of records) {
        expect(time).toBeGreaterThanOrEqual(times[0]);
        expect(time).toBeLessThanOrEqual(times[1]);
      }
      const [first, lone, error, lazy, object, circular, long] = records;
      expect(first).toMatchObject({ msg: '💥 \u2028 "quoted"', context: { n: 1, nested: { list: [1, 2] } } });
      expect(lone.msg).toBe('lone \ufffd surrogate');
      expect(error.msg).toContain('Error: boom');
      expect(error).toMatchObject({ context: { part: 'cart' }, request_id: 'r-1' });
      expect(lazy.msg).toBe('lazy');
      expect(object.msg).toBe('{"not":"a text"}');
      expect(circular.context).toMatchObject({ big: '10', node: '[body]', self: { self: '[circular]' } });
      expect(long.truncated).toBe(true);
      expect(new Set(records.map(({ sessionId }) => sessionId)).size).toBe(1);
      expect(records.map(({ seq }) => seq)).toEqual([1, 2, 3, 4, 5, 6, 7]);
    });

    test('22 planted secrets reach neither the database, nor an object, nor localStorage, nor the page', async ({
      lab,
      server,
    }) => {
      await lab.addInitScript(recordMessages);
      await openLab(lab, server);
      await startLogger(lab, server, { host, redact: { names: ['badge'], patterns: [/ACCT-\d+/] } });
      await lab.evaluate((planted) => {
        for (const { message, context } of planted) window.log.info(message, context);
        // The copy that an exit makes.
        window.dispatchEvent(new PageTransitionEvent('pagehide'));
        for (const { message, context } of planted) window.log.info(message, context);
      }, SECRETS);
      expect((await stats(lab)).entries).toBe(2 * SECRETS.length);
      const kept = await lab.evaluate(everythingKept);
      await flush(lab);
      const stored = storedLines(server).join('\n');
      const said = await lab.evaluate(() => window.said.join('\n'));
      expect(said).toContain('COMMITTED');
      for (const { secret } of SECRETS) {
        expect(kept).not.toContain(secret);
        expect(stored).not.toContain(secret);
        expect(said).not.toContain(secret);
      }
      expect(kept).toContain('[redacted]');
      expect(stored).toContain('[redacted]');
    });

    test('a fast clock is corrected by the time of the service, and the line keeps what the browser said', async ({
      page,
      server,
    }) => {
      const hours = 2 * 3_600_000;
      await setClockFast(page, server, hours);
      await openLab(page, server);
      const begin = Date.now();
      await startLogger(page, server, { host });
      for (let file = 0; file < 2; file += 1) {
        await logLines(page, 10 * file, 10 * file + 10);
        await flush(page);
      }
      const records = storedLines(server).map((line) => JSON.parse(line));
      const own = records.filter(({ msg }) => msg.startsWith('line'));
      expect(own).toHaveLength(20);
      for (const { time, clientTime } of own) {
        expect(clientTime).toBeGreaterThanOrEqual(begin + hours);
        // The middle of the grant's request, which is in the past of the server.
        expect(Math.abs(clientTime - time - hours)).toBeLessThan(60_000);
      }
      expect(records.filter(({ msg }) => msg.includes('fast; times are corrected'))).toHaveLength(2);
      // The first file had a grant for its length before the correction.
      expect([server.count('grant'), server.count('put')]).toEqual([3, 2]);
      expect(server.of('put').map(({ status }) => status)).toEqual([200, 200]);
    });

    test('23 the token is in no storage, no URL and no error', async ({ lab, server }) => {
      await lab.evaluate(() => {
        window.token = () => 'secret-join-token';
      });
      await startLogger(lab, server, { host });
      await logLines(lab, 0, 10);
      server.fault('put', { status: 500 });
      server.fault('grant', { status: 403, body: '{"error":{"code":"FORBIDDEN","message":"no"}}' });
      const message = await lab.evaluate(() =>
        window.log.flush({ timeoutMs: 3_000 }).then(
          () => 'stored',
          (error) => `${error.message} ${error.stack}`,
        ),
      );
      await logLines(lab, 10, 20);
      const kept = await lab.evaluate(everythingKept);
      // The refused file stays, the others go.
      await expect(flush(lab)).rejects.toThrow('a file is refused');
      expect(message).toContain('refuse');
      for (const text of [message, kept, ...server.calls.map(({ url }) => url.href)]) {
        expect(text).not.toContain('secret-join-token');
      }
      expect(
        server.of('grant').every(({ headers }) => headers.authorization === 'Bearer secret-join-token'),
      ).toBe(true);
      expect(server.of('put').every(({ headers }) => headers.authorization === undefined)).toBe(true);
    });

    test('24 a hundred thousand calls are one message, and leave nothing on the heap', async ({
      browser,
      server,
    }) => {
      const context = await browser.newContext();
      const page = await context.newPage();
      await page.addInitScript(() => {
        const count = (target: { postMessage: (...all: never[]) => void }) => {
          const real = target.postMessage;
          target.postMessage = function (...all: never[]) {
            if ((all[0] as unknown as { command?: string })?.command === 'PUT_LOGS')
              document.title = String(Number(document.title || 0) + 1);
            return real.apply(this, all);
          };
        };
        count(Worker.prototype);
        count(MessagePort.prototype);
      });
      await openLab(page, server);
      await startLogger(page, server, { host, maxEntries: 1_000_000 });
      await stats(page);
      const cdp = await context.newCDPSession(page);
      const heap = async () => {
        await cdp.send('HeapProfiler.collectGarbage');
        const { usedSize } = await cdp.send('Runtime.getHeapUsage');
        return usedSize;
      };
      await page.evaluate(() => {
        document.title = '0';
      });
      const before = await heap();
      const usPerCall = await page.evaluate(() => {
        const begin = performance.now();
        for (let n = 0; n < 100_000; n += 1) window.log.info(`line ${n} of an ordinary length`, { n });
        return ((performance.now() - begin) / 100_000) * 1_000;
      });
      expect((await stats(page)).entries).toBe(100_000);
      expect(await page.title()).toBe('1');
      const grown = (await heap()) - before;
      const description = `${usPerCall.toFixed(1)} us a call, heap ${(grown / 1024 / 1024).toFixed(1)} MiB`;
      test.info().annotations.push({ type: 'seen', description });
      expect(grown).toBeLessThan(5 * 1024 * 1024);
      await flush(page, 120_000);
      expect(server.of('put').reduce((sum, { body }) => sum + linesOf(body).length, 0)).toBe(100_000);
      await context.close();
    });
  });
}

/** Keeps what workers say to the page in `window.said`. */
function recordMessages(): void {
  window.said = [];
  const hear = (port: EventTarget) =>
    port.addEventListener('message', (event) =>
      window.said.push(JSON.stringify((event as MessageEvent).data)),
    );
  const { Worker: Dedicated, SharedWorker: Shared } = window;
  window.Worker = class extends Dedicated {
    constructor(...all: ConstructorParameters<typeof Worker>) {
      super(...all);
      hear(this);
    }
  };
  window.SharedWorker = class extends Shared {
    constructor(...all: ConstructorParameters<typeof SharedWorker>) {
      super(...all);
      hear(this.port);
    }
  };
}

/** All of IndexedDB and localStorage as one text. */
async function everythingKept(): Promise<string> {
  const parts = [JSON.stringify(localStorage)];
  for (const { name } of await indexedDB.databases()) {
    const db = await new Promise<IDBDatabase>((done, fail) => {
      const request = indexedDB.open(name ?? '');
      request.onsuccess = () => done(request.result);
      request.onerror = () => fail(request.error);
    });
    for (const store of db.objectStoreNames) {
      const request = db.transaction(store).objectStore(store).getAll();
      const values = await new Promise<unknown[]>((done, fail) => {
        request.onsuccess = () => done(request.result);
        request.onerror = () => fail(request.error);
      });
      for (const value of values) {
        if (!(value instanceof ArrayBuffer)) parts.push(JSON.stringify(value));
        else {
          const plain = new Blob([value]).stream().pipeThrough(new DecompressionStream('gzip'));
          parts.push(await new Response(plain).text());
        }
      }
    }
    db.close();
  }
  return parts.join('\n');
}
