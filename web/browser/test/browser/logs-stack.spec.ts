/** Behaviours 18, 20, 21, 25, 29 and 30 on the real functions. */

import type { Page } from '@playwright/test';
import { test as base, expect, openLab } from '../support/fixtures.ts';
import { before, eventually, logUntilForm, setClockFast } from '../support/logs.ts';
import { App, NO_STACK, stack } from '../support/stack.ts';

const SCOPE = { meetingId: 'meeting-123', attendeeId: 'attendee-456' };

interface Record {
  timestamp: string;
  level: string;
  message: string;
  context?: unknown;
  request_id?: string;
}

interface File {
  key: string;
  status: string;
  reason?: { code: string };
}

const running = stack();

const test = base.extend<{ app: App; token: string }>({
  // biome-ignore lint/correctness/noEmptyPattern: Playwright reads the names of what a fixture needs.
  app: async ({}, use) => {
    if (!running) throw new Error(NO_STACK);
    await use(await App.create(running));
  },
  token: async ({ app }, use) => {
    const { token } = await app.call<{ token: string }>('POST', `/apps/${app.id}/join-tokens`, SCOPE);
    await use(token);
  },
});

test.skip(!running, NO_STACK);

/** The records of the app once `count` have arrived, oldest first. */
async function records(app: App, count: number): Promise<Record[]> {
  let found: Record[] = [];
  await eventually(async () => {
    found = await app.call<Record[]>('GET', '/logs?limit=1000');
    return found.length >= count;
  }, 60_000);
  return found.reverse();
}

async function startLogger(page: Page, app: App, token: string, format: 'ndjson' | 'text'): Promise<void> {
  await page.evaluate(
    ([endpoint, token, scope, format]) => {
      window.log = window.logs.createLogger({
        endpoint,
        getToken: () => token,
        scope,
        format,
        level: 'DEBUG',
      });
    },
    [app.stack.api, token, SCOPE, format] as const,
  );
}

for (const format of ['ndjson', 'text'] as const) {
  test(`20 a message cannot forge a record, in ${format}`, async ({ lab, app, token }) => {
    await startLogger(lab, app, token, format);
    await lab.evaluate(() => {
      window.log.info('real\n2024-01-01T00:00:00.000Z [ERROR] forged\n{"level":"error","msg":"forged"}');
      return window.log.flush();
    });
    const [record, ...others] = await records(app, 1);
    expect(others).toEqual([]);
    expect(record?.level).toBe('INFO');
    expect(record?.message).toContain('forged');
  });

  test(`21 entries of every kind are found again, in ${format}`, async ({ lab, app, token }) => {
    await startLogger(lab, app, token, format);
    const [from, to] = await lab.evaluate(async () => {
      const from = Date.now();
      const { log } = window;
      log.debug('💥 \u2028 "quoted" \\');
      log.warn('lone \ud83d surrogate', { request_id: 'r-1', n: 1 });
      log.error(new Error('boom', { cause: new Error('why') }));
      const circular: { [name: string]: unknown } = { big: 10n };
      circular.self = circular;
      log.info('circular', circular);
      log.info('x'.repeat(300 * 1024));
      const to = Date.now();
      await log.flush();
      return [from, to];
    });
    const found = await records(app, 5);
    const by = (level: string, text: string) =>
      found.find((record) => record.level === level && record.message.includes(text));
    expect(by('DEBUG', '💥 \u2028 "quoted" \\')).toBeDefined();
    expect(by('WARN', 'lone \ufffd surrogate')).toBeDefined();
    expect(by('ERROR', 'boom')).toBeDefined();
    expect(by('INFO', 'circular')).toBeDefined();
    expect(by('INFO', 'xxxxxxxx')).toBeDefined();
    expect(found).toHaveLength(5);
    for (const { timestamp } of found) {
      expect(Date.parse(timestamp)).toBeGreaterThanOrEqual(from ?? 0);
      expect(Date.parse(timestamp)).toBeLessThanOrEqual(to ?? 0);
    }
    if (format === 'ndjson') {
      expect(by('WARN', 'lone')).toMatchObject({ request_id: 'r-1', context: { request_id: 'r-1', n: 1 } });
    }
    // Nothing was signed that was not uploaded.
    const files = await app.call<File[]>('GET', '/files?limit=100');
    expect(files.map(({ status }) => status)).toEqual(['COMPLETED']);
  });
}

test('18 a plain file of a browser without CompressionStream is ingested', async ({
  lab,
  server,
  app,
  token,
}) => {
  before(server, 'delete self.CompressionStream');
  await openLab(lab, server);
  await startLogger(lab, app, token, 'ndjson');
  const { uploaded } = await lab.evaluate(() => {
    for (let n = 0; n < 50; n += 1) window.log.info(`line ${n}`);
    return window.log.flush();
  });
  expect(uploaded).toBe(50);
  expect(await records(app, 50)).toHaveLength(50);
});

for (const format of ['ndjson', 'text'] as const) {
  test(`records of a browser whose clock is two days fast have the right time, in ${format}`, async ({
    page,
    server,
    app,
    token,
  }) => {
    await setClockFast(page, server, 2 * 86_400_000);
    await openLab(page, server);
    const begin = Date.now();
    await startLogger(page, app, token, format);
    await page.evaluate(() => {
      window.log.info('line 1');
      return window.log.flush();
    });
    // The line, and the one that tells of the correction.
    const found = await records(app, 2);
    const line = found.find(({ message }) => message === 'line 1');
    const time = Date.parse(line?.timestamp ?? '');
    expect(Math.abs(time - begin)).toBeLessThan(120_000);
    expect(found.some(({ message }) => message.includes('172800 s fast'))).toBe(true);
  });
}

test('12 the form of a closing page is ingested, and its lines are stored once', async ({
  lab,
  server,
  app,
  token,
}) => {
  const start = (page: Page) =>
    page.evaluate(
      ([endpoint, token, scope]) => {
        const options = { endpoint, scope, getToken: () => token, host: 'dedicated' as const };
        window.log = window.logs.createLogger(options);
      },
      [app.stack.api, token, SCOPE] as const,
    );
  await start(lab);
  const lines = await logUntilForm(lab, 0);
  await lab.evaluate(() => window.log.info('the last'));
  await lab.close({ runBeforeUnload: true });
  await records(app, lines + 1);
  const next = await lab.context().newPage();
  await openLab(next, server);
  await start(next);
  await next.evaluate(() => {
    window.log.info('the next visit');
    return window.log.flush();
  });
  const found = await records(app, lines + 2);
  expect(new Set(found.map(({ message }) => message)).size).toBe(lines + 2);
  expect(found).toHaveLength(lines + 2);
  const files = await app.call<File[]>('GET', '/files?limit=100');
  expect(files.filter(({ status }) => status !== 'COMPLETED')).toEqual([]);
});

test('29 a flush until ingested resolves when the service has read the files', async ({
  lab,
  app,
  token,
}) => {
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  const url = `${app.stack.api}/presigned-url`;
  const granted = await fetch(url, { method: 'POST', headers, body: JSON.stringify(SCOPE) });
  const { key } = (await granted.json()) as { key: string };
  const probe = await fetch(`${url}?key=${encodeURIComponent(key)}`, { headers });
  test.skip(probe.status === 404, 'this stack has no GET /presigned-url');
  await startLogger(lab, app, token, 'ndjson');
  const summary = await lab.evaluate(() => {
    for (let n = 0; n < 100; n += 1) window.log.info(`line ${n}`);
    return window.log.flush({ until: 'ingested' });
  });
  expect(summary.files).toHaveLength(1);
  expect(summary.files[0]).toMatchObject({ status: 'COMPLETED', lines: 100 });
  expect(summary.files[0]?.counts).toBeDefined();
  expect(await records(app, 100)).toHaveLength(100);
});

test("30 the original's first example runs as printed", async ({ lab, app, token }) => {
  const said = await lab.evaluate(
    async ([presignedUrl, joinToken]) => {
      const { LogLevel, S3Logger } = window.logs;
      // Initialize S3Logger
      const logger = new S3Logger({
        logLevel: LogLevel.DEBUG,
        presignedUrl,
        meetingId: 'meeting-123',
        attendeeId: 'attendee-456',
        joinToken,
        maxEntries: 500,
        maxBytes: 50 * 1024 * 1024, // 50MB
      });

      // Log messages
      logger.debug('Debug message');
      logger.info('Info message');
      logger.warn('Warning message');
      logger.error('Error message');

      // Upload logs to S3
      const said = await logger.uploadLogs();

      // Clean up
      logger.destroy();
      return said;
    },
    [`${app.stack.api}/presigned-url`, token] as const,
  );
  expect(said).toBe('Successfully uploaded 4 logs');
  const found = await records(app, 4);
  expect(found.map(({ level, message }) => `${level} ${message}`).sort()).toEqual([
    'DEBUG Debug message',
    'ERROR Error message',
    'INFO Info message',
    'WARN Warning message',
  ]);
});

test("30 the original's second example runs as printed", async ({ page, server, app, token }) => {
  await openLab(page, server);
  const said = await page.evaluate(
    ([presignedUrlEndpoint, joinToken]) =>
      new Promise<string[]>((resolve) => {
        const said: string[] = [];
        // Create worker from the standalone worker file
        const worker = new Worker('/dist/log-worker.js');

        // Initialize worker
        worker.postMessage({
          command: 'LOG_WORKER_INITIALIZE',
          config: {
            presignedUrlEndpoint,
            meetingId: 'meeting-123',
            attendeeId: 'attendee-456',
            joinToken,
            maxEntries: 500,
            maxBytes: 50 * 1024 * 1024,
          },
        });

        // Send log messages
        worker.postMessage({
          command: 'PUT_LOG',
          level: 'INFO',
          message: 'This is a log message',
        });

        // Trigger upload
        worker.postMessage({
          command: 'UPLOAD_LOGS',
          joinToken,
        });

        // Listen for responses
        worker.addEventListener('message', (event) => {
          const { command, message, error } = event.data;

          switch (command) {
            case 'LOG_WORKER_READY':
              said.push('Worker ready');
              break;
            case 'LOG_UPLOAD_COMPLETE':
              resolve([...said, `Upload complete: ${message}`]);
              break;
            case 'LOG_UPLOAD_FAILED':
              resolve([...said, `Upload failed: ${error}`]);
              break;
          }
        });
      }),
    [`${app.stack.api}/presigned-url`, token] as const,
  );
  expect(said).toEqual(['Worker ready', 'Upload complete: Successfully uploaded 1 logs']);
  const [record] = await records(app, 1);
  expect(record).toMatchObject({ level: 'INFO', message: 'This is a log message' });
});
