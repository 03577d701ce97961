// Behaviours 31 to 38: one upload, its pauses, its faults and its end.
import { expect, HOSTS, test } from '../support/fixtures.ts';
import {
  command,
  diskFile,
  eventually,
  host,
  MIB,
  only,
  openClient,
  pick,
  reaches,
  seen,
  session,
  start,
} from '../support/upload-lab.ts';
import { sha256Of } from '../support/upload-routes.ts';

for (const kind of [...HOSTS, 'main'] as const) {
  test(`31 a paused upload makes no request, and resumes to the same bytes (${kind})`, async ({
    page,
    server,
  }) => {
    await openClient(page, server, { host: kind });
    expect(await host(page)).toBe(kind);
    const file = diskFile(120 * MIB);
    server.fault('part', { delayMs: 300 }, 1_000);
    const id = await pick(page, file);
    await eventually(async () => ((await session(page, id))?.progress ?? 0) >= 20);
    await command(page, 'pause', id);
    expect((await session(page, id))?.status).toBe('paused');
    const requests = server.calls.length;
    await page.waitForTimeout(1_500);
    expect(server.calls.length).toBe(requests);
    server.clearFaults();
    await command(page, 'resume', id);
    await reaches(page, id, 'completed');
    expect(sha256Of(only(server))).toBe(file.sha256);
  });
}

test('34 at most three parts of an upload and six in all are under way, and they begin in order', async ({
  page,
  server,
}) => {
  // Where the requests begin: parts that are under way at the same time may arrive in another order.
  await page.addInitScript(() => {
    const begun: number[] = [];
    Object.assign(window, { begun });
    const { open } = XMLHttpRequest.prototype;
    XMLHttpRequest.prototype.open = function (this: XMLHttpRequest, method: string, url: string | URL) {
      begun.push(Number(new URL(url).searchParams.get('partNumber')));
      return open.call(this, method, url, true);
    };
  });
  await openClient(page, server, { maxActive: 3, host: 'main' });
  server.fault('part', { delayMs: 200 }, 1_000);
  const first = await start(page, 60 * MIB);
  await reaches(page, first, 'completed');
  expect(server.mostOpen.get('part')).toBe(3);
  const begun = await page.evaluate(() => (window as unknown as { begun: number[] }).begun);
  expect(begun).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  const arrived = server.of('part').map((call) => Number(call.url.searchParams.get('partNumber')));
  expect(arrived.toSorted((a, b) => a - b)).toEqual(begun);
  const ids = [await start(page, 60 * MIB), await start(page, 60 * MIB), await start(page, 60 * MIB)];
  for (const id of ids) await reaches(page, id, 'completed');
  expect(server.mostOpen.get('part')).toBeLessThanOrEqual(6);
});

test('35 parts that fail in every way are sent again, and progress never falls', async ({ page, server }) => {
  await openClient(page, server, { retryDelay: 50 });
  server.fault('part', { status: 500 }, 2);
  server.fault('part', 'cut', 2);
  server.fault('part', { status: 403 });
  server.fault('part', { status: 429, headers: { 'retry-after': '1' } });
  server.fault('part', 'lost-answer');
  server.fault('batch', { status: 503 });
  const id = await start(page, 60 * MIB);
  await reaches(page, id, 'completed');
  expect(server.count('part')).toBe(8 + 7);
  const progress = (await seen(page)).flatMap((message) => message.progress ?? []);
  expect(progress).toEqual([...progress].sort((one, other) => one - other));
});

test('35 six failures of a part fail the upload, and retry resumes from there', async ({ page, server }) => {
  await openClient(page, server, { retryDelay: 20, parallel: 1 });
  server.fault('part', { status: 500 }, 6, 2);
  const id = await start(page, 40 * MIB);
  await reaches(page, id, 'failed');
  const error = (await session(page, id))?.error;
  expect(error).toMatchObject({ code: 'CHUNK_UPLOAD_FAILED', retryable: true, uploadId: id });
  expect(error?.message).not.toContain('http');
  expect(server.count('part')).toBe(2 + 6);
  await command(page, 'retry', id);
  await reaches(page, id, 'completed');
  expect([...only(server).parts.values()].map(({ times }) => times)).toEqual([1, 1, 1, 1, 1]);
});

test('35 a part of which nothing moves for two minutes is cut and sent again', async ({ page, server }) => {
  await page.clock.install();
  await openClient(page, server, { host: 'main' });
  server.fault('part', { delayMs: 30_000 });
  const id = await start(page, 8 * MIB);
  await eventually(() => server.count('part') === 1);
  await eventually(async () => ((await session(page, id))?.progress ?? 0) > 90);
  await page.clock.fastForward(125_000);
  await eventually(async () => {
    await page.clock.fastForward(1_000);
    return server.count('part') === 2;
  });
  await eventually(async () => {
    await page.clock.fastForward(1_000);
    return (await session(page, id))?.status === 'completed';
  });
  expect(server.of('part')[0]?.status).toBe(0);
});

// The specification's minute, where there is time (ms).
const OUTAGE_MS = process.env.LOGFERRY_WEB_LONG ? 60_000 : 5_000;

test('36 without a network the upload waits, uses up no try and completes by itself (dedicated)', async ({
  page,
  server,
  context,
}) => {
  test.setTimeout(OUTAGE_MS + 60_000);
  await openClient(page, server, { maxRetries: 0, host: 'dedicated' });
  server.fault('part', { delayMs: 200 }, 1_000);
  const id = await start(page, 80 * MIB);
  await eventually(() => server.count('part') > 3);
  await context.setOffline(true);
  await reaches(page, id, 'waiting');
  await page.waitForTimeout(OUTAGE_MS);
  expect((await session(page, id))?.status).toBe('waiting');
  await context.setOffline(false);
  await reaches(page, id, 'completed');
});

test('36 an outage that the browser does not report is waited for, too (shared)', async ({
  page,
  server,
}) => {
  test.setTimeout(OUTAGE_MS + 60_000);
  await openClient(page, server, { maxRetries: 0, host: 'shared' });
  server.fault('part', { delayMs: 200 }, 3);
  const id = await start(page, 80 * MIB);
  await eventually(() => server.count('part') > 3);
  server.fault('part', 'cut', 1_000);
  server.fault('batch', 'cut', 1_000);
  await reaches(page, id, 'waiting');
  await page.waitForTimeout(OUTAGE_MS);
  expect((await session(page, id))?.status).toBe('waiting');
  server.clearFaults();
  await reaches(page, id, 'completed');
});

test('37 a 200 whose ETag cannot be read is one clear error, and nothing is completed', async ({
  page,
  server,
}) => {
  await openClient(page, server);
  server.fault('part', 'no-etag', 1_000);
  const id = await start(page, 40 * MIB);
  await reaches(page, id, 'failed');
  expect((await session(page, id))?.error?.message).toContain('ExposeHeaders');
  expect((await seen(page)).filter(({ type }) => type === 'ERROR')).toHaveLength(1);
  expect(server.count('complete')).toBe(0);
});

test('38 a complete whose answer was lost is repeated, and there is one object', async ({ page, server }) => {
  await openClient(page, server, { retryDelay: 50 });
  server.fault('complete', 'lost-answer', 2);
  const id = await start(page, 20 * MIB);
  await reaches(page, id, 'completed');
  expect(server.count('complete')).toBe(3);
  expect(only(server).status).toBe('COMPLETED');
});

test('38 a part that S3 lost before complete is sent again', async ({ page, server }) => {
  await openClient(page, server, { parallel: 1 });
  server.fault('complete', { delayMs: 0 });
  server.fault('part', { delayMs: 100 }, 1_000);
  const id = await start(page, 40 * MIB);
  await eventually(() => server.count('part') === 4);
  only(server).parts.delete(2);
  await reaches(page, id, 'completed');
  expect(server.count('complete')).toBe(2);
  expect(server.count('list')).toBe(1);
});
