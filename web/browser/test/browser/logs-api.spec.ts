/** What else the logger promises: scopes, filters, errors that are captured, events, the main host. */

import { expect, openLab, test } from '../support/fixtures.ts';
import { storedLines } from '../support/log-routes.ts';
import { eventually, expectExactly, flush, logLines, startLogger, stats } from '../support/logs.ts';

test('lines go to the scope that was set when they were logged', async ({ lab, server }) => {
  await startLogger(lab, server, { autoUpload: true, flushIntervalMs: 200 });
  await lab.evaluate(() => {
    window.log.info('line 1');
    window.log.setScope({ meetingId: 'm-2', attendeeId: 'a-2' });
    window.log.info('line 2');
    return window.log.flush();
  });
  await eventually(() => storedLines(server).length === 2);
  const meetings = server.of('grant').map(({ body }) => JSON.parse(body.toString()).meetingId);
  expect(meetings.sort()).toEqual(['m-1', 'm-2']);
  const stored = [...server.objects].map(([key, { body }]) => [key.split('/')[3], body.length > 0]);
  expect(stored.sort()).toEqual([
    ['m-1', true],
    ['m-2', true],
  ]);
});

test('levels, lazy messages, beforeSend, captured errors and pino', async ({ page, server }) => {
  await openLab(page, server);
  await page.evaluate(async (endpoint) => {
    const log = window.logs.createLogger({
      endpoint,
      getToken: () => 'good',
      scope: { meetingId: 'm-1', attendeeId: 'a-1' },
      level: 'WARN',
      autoUpload: false,
      captureErrors: true,
      beforeSend: (entry) =>
        entry.message.includes('private') ? null : { ...entry, message: `${entry.message}!` },
    });
    log.info(() => {
      throw new Error('not called');
    });
    log.warn(() => {
      throw new Error('called');
    });
    log.warn('private');
    log.warn('kept');
    log.setLevel('OFF');
    log.error('off');
    log.setLevel('DEBUG');
    const event = { messages: [{ user: 7 }, 'from pino'], bindings: [{ name: 'app' }], level: { value: 50 } };
    window.logs.pinoTransmit(log).send('error', event);
    const seen = new Promise((done) => window.addEventListener('unhandledrejection', done, { once: true }));
    void Promise.reject(new Error('rejected'));
    await seen;
    await log.flush();
    await log.destroy();
  }, server.api);
  const records = storedLines(server).map((line) => JSON.parse(line));
  expect(records.map(({ level, msg }) => `${level} ${msg.split('\n')[0]}`)).toEqual([
    'warn logferry: an entry could not be formatted: called',
    'warn kept!',
    'error from pino!',
    'error Error: rejected',
  ]);
  expect(records[2].context).toEqual({ user: 7, name: 'app' });
});

test('after destroy what was logged goes with the next visit, and nothing more is taken', async ({
  lab,
  server,
}) => {
  await startLogger(lab, server);
  await logLines(lab, 0, 10);
  await lab.evaluate(async () => {
    await window.log.destroy();
    window.log.info('line 99');
    await window.log.flush().catch(() => {});
  });
  await lab.reload();
  await openLab(lab, server);
  await startLogger(lab, server, { autoUpload: true });
  await eventually(() => storedLines(server).length >= 10);
  expectExactly(server, 0, 10);
});

test('in the page itself a closed tab loses nothing either', async ({ context, server }) => {
  for (let round = 0; round < 3; round += 1) {
    const page = await context.newPage();
    await openLab(page, server);
    await startLogger(page, server, { host: 'main', autoUpload: true, flushIntervalMs: 60_000 });
    await stats(page);
    await logLines(page, round * 100, (round + 1) * 100);
    await page.close({ runBeforeUnload: true });
  }
  const page = await context.newPage();
  await openLab(page, server);
  await startLogger(page, server, { host: 'main', autoUpload: true });
  await eventually(() => storedLines(server).length >= 300);
  expectExactly(server, 0, 300);
  expect((await stats(page)).host).toBe('main');
});

test('a closing page keeps the newest lines that fit, and counts the others', async ({ page, server }) => {
  // The worker starts too late for this page.
  server.site_.set('/dist/log-worker.js', {
    status: 200,
    headers: { 'content-type': 'text/javascript' },
    body: '',
  });
  await openLab(page, server);
  await startLogger(page, server, { host: 'dedicated' });
  await page.evaluate(() => {
    for (let n = 0; n < 100; n += 1) window.log.info(`line ${n} ${'x'.repeat(20_000)}`);
  });
  await page.close({ runBeforeUnload: true });
  server.site_.clear();
  const next = await page.context().newPage();
  await openLab(next, server);
  await startLogger(next, server, { host: 'dedicated' });
  await eventually(async () => (await stats(next)).entries > 0);
  const { uploaded, dropped } = await flush(next);
  expect(uploaded).toBeGreaterThan(15);
  expect(uploaded + dropped).toBe(100);
  expectExactly(server, 100 - uploaded, 100);
});

test('a flush that is refused says why, and stats tell what waits', async ({ lab, server }) => {
  server.fault('grant', {
    status: 403,
    body: '{"ok":false,"error":{"code":"FORBIDDEN","message":"another meeting"}}',
  });
  await startLogger(lab, server);
  await logLines(lab, 0, 10);
  const error = await lab.evaluate(() =>
    window.log.flush().then(
      () => null,
      ({ code, message }) => ({ code, message }),
    ),
  );
  expect(error).toEqual({
    code: 'REFUSED',
    message: 'the service refuses to sign an upload: another meeting',
  });
  expect(await stats(lab)).toMatchObject({ entries: 10, batches: 1, refused: 1 });
});

test('once everything is uploaded the database holds nothing but the marks of tabs', async ({
  lab,
  server,
}) => {
  await startLogger(lab, server, { maxEntries: 100 });
  for (let n = 0; n < 300; n += 100) await logLines(lab, n, n + 100);
  await flush(lab);
  const left = await lab.evaluate(async () => {
    const db = await new Promise<IDBDatabase>((done) => {
      const request = indexedDB.open('logferry-logs-1');
      request.onsuccess = () => done(request.result);
    });
    const keys: string[] = [];
    for (const store of db.objectStoreNames) {
      const request = db.transaction(store).objectStore(store).getAllKeys();
      await new Promise((done) => {
        request.onsuccess = done;
      });
      keys.push(...request.result.map(String));
    }
    db.close();
    return keys;
  });
  expect(left).toHaveLength(1);
  expect(left[0]).toMatch(/^tab:[0-9a-f]{32}$/);
});
