// Behaviours 32, 33, 39, 47: what survives a navigation, a crash and a restart.
import { appendFileSync, truncateSync } from 'node:fs';
import type { FaultServer } from '../support/fault-server.ts';
import { expect, test } from '../support/fixtures.ts';
import { killed, newPage, Profile } from '../support/persistent.ts';
import {
  command,
  diskFile,
  eventually,
  list,
  MIB,
  only,
  openClient,
  pick,
  reaches,
  seen,
  session,
} from '../support/upload-lab.ts';
import { sessionsOf, sha256Of } from '../support/upload-routes.ts';

const KILLS = process.env.LOGFERRY_WEB_LONG ? 20 : 3;

/** Parts that were sent although a list of S3 had shown them. */
function sentTwice(server: FaultServer): string[] {
  const number = (url: URL) => url.searchParams.get('partNumber') ?? '';
  return server.of('list').flatMap((listed) => {
    const stored = server.of('part').filter((part) => part.status === 200 && part.endedMs < listed.startedMs);
    const known = new Set(stored.map((part) => number(part.url)));
    const later = server.of('part').filter((part) => part.startedMs > listed.endedMs);
    return later.map((part) => number(part.url)).filter((sent) => known.has(sent));
  });
}

test('32 after kills of the renderers and of the browser no part is sent that S3 had, and the bytes are the same', async ({
  server,
}) => {
  test.setTimeout(30_000 + KILLS * 15_000);
  const profile = new Profile();
  try {
    let context = await profile.launch();
    const file = diskFile(Math.max(120, KILLS * 40) * MIB);
    server.fault('part', { delayMs: 250 }, 100_000);
    let page = await context.newPage();
    await openClient(page, server, { chunkSize: 5 * MIB });
    const id = await pick(page, file);
    for (let kill = 0; kill < KILLS; kill += 1) {
      const parts = server.count('part');
      await eventually(() => server.count('part') > parts + 2);
      await page.waitForTimeout(Math.random() * 400);
      if (kill % 2 === 0) {
        await killed(page, () => profile.killRenderers());
      } else {
        await killed(context, () => profile.killBrowser());
        context = await profile.launch();
      }
      page = await newPage(context);
      await openClient(page, server, { chunkSize: 5 * MIB });
      await reaches(page, id, 'needs-file');
      await pick(page, file, id);
    }
    server.clearFaults();
    await reaches(page, id, 'completed');
    expect(sentTwice(server)).toEqual([]);
    expect(server.count('create')).toBe(1);
    expect(sha256Of(only(server))).toBe(file.sha256);
  } finally {
    profile.killBrowser();
    profile.remove();
  }
});

test('33 an upload goes on through a navigation, and after the last tab has closed', async ({
  server,
  context,
}) => {
  const page = await context.newPage();
  await openClient(page, server, { host: 'shared', chunkSize: 5 * MIB });
  const file = diskFile(180 * MIB);
  server.fault('part', { delayMs: 1_200 }, 100_000);
  const id = await pick(page, file);
  await eventually(() => server.count('part') > 3);
  await openClient(page, server, { host: 'shared' });
  const before = await session(page, id);
  expect(before?.status).toBe('uploading');
  await eventually(async () => ((await session(page, id))?.progress ?? 0) > (before?.progress ?? 0));
  expect((await seen(page)).some(({ type }) => type === 'PROGRESS')).toBe(true);
  await page.close();
  const closed = Date.now();
  await new Promise((done) => setTimeout(done, 11_000));
  const late = server.of('part').filter((part) => part.status === 200 && part.endedMs > closed + 10_000);
  expect(late.length).toBeGreaterThan(0);
  expect(server.count('create')).toBe(1);
  expect(server.count('list')).toBe(0);
});

test('39 another file of the same name and size is refused, and nothing is completed', async ({
  page,
  server,
}) => {
  await openClient(page, server, { host: 'dedicated', keepCopiesUpTo: 0 });
  const file = diskFile(20 * MIB, 'same.bin');
  server.fault('part', { delayMs: 2_000 }, 100);
  const id = await pick(page, file);
  await eventually(() => server.count('part') > 0);
  await page.reload();
  await openClient(page, server, { host: 'dedicated', keepCopiesUpTo: 0 });
  await reaches(page, id, 'needs-file');
  // The same name: it is written over the first.
  const other = diskFile(20 * MIB, 'same.bin');
  await expect(pick(page, other, id)).rejects.toThrow(/not the file of the upload: its content differs/);
  expect((await session(page, id))?.status).toBe('needs-file');
  await expect(pick(page, diskFile(21 * MIB), id)).rejects.toThrow(/22020096 bytes instead of 20971520/);
  expect(server.count('complete')).toBe(0);
});

for (const [how, change] of [
  ['grows', (path: string) => appendFileSync(path, 'x')],
  ['shrinks', (path: string) => truncateSync(path, 30 * MIB)],
] as const) {
  test(`39 a file that ${how} on disk fails as FILE_CHANGED, and nothing is completed`, async ({
    page,
    server,
  }) => {
    await openClient(page, server, { keepCopiesUpTo: 0, retryDelay: 20 });
    const file = diskFile(80 * MIB);
    server.fault('part', { delayMs: 300 }, 100);
    const id = await pick(page, file);
    await eventually(() => server.count('part') > 3);
    change(file.path);
    await reaches(page, id, 'failed');
    expect((await session(page, id))?.error).toMatchObject({ code: 'FILE_CHANGED', retryable: false });
    expect(server.count('complete')).toBe(0);
    await command(page, 'cancel', id);
    expect(only(server).status).toBe('ABORTED');
  });
}

test('47 a kept file is uploaded after a kill of the browser without a pick; a larger one is asked for', async ({
  server,
}) => {
  const profile = new Profile();
  try {
    const context = await profile.launch();
    let page = await context.newPage();
    await openClient(page, server, { maxActive: 2 });
    server.fault('part', { delayMs: 1_500 }, 6);
    const [small, large] = [diskFile(50 * MIB), diskFile(60 * MIB)];
    const ids = [await pick(page, small), await pick(page, large)] as const;
    await eventually(() => server.count('part') >= 4);
    await killed(context, () => profile.killBrowser());
    server.clearFaults();

    page = await (await profile.launch()).newPage();
    await openClient(page, server, { maxActive: 2 });
    await reaches(page, ids[1], 'needs-file');
    await reaches(page, ids[0], 'completed');
    await pick(page, large, ids[1]);
    await reaches(page, ids[1], 'completed');
    const hashes = [...sessionsOf(server).values()].map(sha256Of);
    expect(hashes.sort()).toEqual([small.sha256, large.sha256].sort());
    expect(server.count('create')).toBe(2);
  } finally {
    profile.killBrowser();
    profile.remove();
  }
});

test('47 a file handle survives a reload as itself', async ({ page, server }) => {
  await openClient(page, server, { host: 'dedicated' });
  server.fault('part', { delayMs: 1_500 }, 3);
  // A handle of the origin's private files needs no permission.
  const id = await page.evaluate(async (bytes) => {
    const root = await navigator.storage.getDirectory();
    const handle = await root.getFileHandle('film.bin', { create: true });
    const writer = await handle.createWritable();
    await writer.truncate(bytes);
    await writer.close();
    return (window as unknown as { up: { start(file: unknown): Promise<string> } }).up.start(handle);
  }, 60 * MIB);
  await eventually(() => server.count('part') >= 2);
  await page.reload();
  await openClient(page, server, { host: 'dedicated' });
  await reaches(page, id, 'completed');
  expect(server.count('create')).toBe(1);
});

test('47 without autoResume an interrupted upload is paused until it is resumed', async ({
  page,
  server,
}) => {
  await openClient(page, server, { host: 'dedicated' });
  server.fault('part', { delayMs: 1_500 }, 3);
  const id = await pick(page, diskFile(30 * MIB));
  await eventually(() => server.count('part') >= 2);
  await page.reload();
  await openClient(page, server, { host: 'dedicated', autoResume: false });
  expect((await list(page)).map(({ status }) => status)).toEqual(['paused']);
  await command(page, 'resume', id);
  await reaches(page, id, 'completed');
});
