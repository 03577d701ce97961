// Behaviours 31, 32, 38, 40, 46 on the real stack of `make up`.
import { expect, openLab, test } from '../support/fixtures.ts';
import { killed, newPage, Profile } from '../support/persistent.ts';
import { sha256OfObject } from '../support/s3.ts';
import { App, NO_STACK, stack } from '../support/stack.ts';
import {
  client,
  command,
  diskFile,
  eventually,
  MIB,
  pick,
  reaches,
  session,
  stored,
} from '../support/upload-lab.ts';

const found = stack();
test.skip(found === null, NO_STACK);

interface Row {
  uploadId: string;
  key: string;
  status: string;
  size: number;
  uploaded_bytes?: number;
}

async function newApp(): Promise<{ app: App; token: string; api: string }> {
  if (!found) throw new Error(NO_STACK);
  const app = await App.create(found);
  const { token } = await app.call<{ token: string }>('POST', `/apps/${app.id}/upload-tokens`, {
    sub: 'user-7',
  });
  return { app, token, api: found.api };
}

const rows = (app: App) => app.call<Row[]>('GET', '/uploads?progress=true');

test('31 stack: 120 MB with a pause at 20 % arrive byte for byte', async ({ page, server }) => {
  const { app, token, api } = await newApp();
  await openLab(page, server);
  // A limit holds it long enough for the pause.
  await client(page, api, { token, bytesPerSec: 40 * MIB });
  const file = diskFile(120 * MIB);
  const id = await pick(page, file);
  await eventually(async () => ((await session(page, id))?.progress ?? 0) >= 20);
  await command(page, 'pause', id);
  const [open] = await rows(app);
  expect(open?.status).toBe('OPEN');
  await page.waitForTimeout(1_000);
  expect((await rows(app))[0]?.uploaded_bytes).toBe(open?.uploaded_bytes);
  await command(page, 'resume', id);
  await reaches(page, id, 'completed');
  const [done] = await rows(app);
  expect(done).toMatchObject({ status: 'COMPLETED', size: 120 * MIB });
  expect(await sha256OfObject(done?.key ?? '')).toBe(file.sha256);
});

test('32 stack: after a kill of the renderers the upload resumes in its session', async ({ server }) => {
  const { app, token, api } = await newApp();
  const profile = new Profile();
  try {
    const context = await profile.launch();
    const options = { token, bytesPerSec: 20 * MIB };
    let page = await context.newPage();
    await openLab(page, server);
    await client(page, api, options);
    const file = diskFile(80 * MIB);
    const id = await pick(page, file);
    await eventually(async () => ((await session(page, id))?.progress ?? 0) >= 20);
    await killed(page, () => profile.killRenderers());
    const before = (await rows(app))[0]?.uploaded_bytes ?? 0;
    expect(before).toBeGreaterThan(0);
    page = await newPage(context);
    await openLab(page, server);
    await client(page, api, options);
    await reaches(page, id, 'needs-file');
    await pick(page, file, id);
    await reaches(page, id, 'completed');
    const all = await rows(app);
    expect(all.map(({ status }) => status)).toEqual(['COMPLETED']);
    expect(await sha256OfObject(all[0]?.key ?? '')).toBe(file.sha256);
  } finally {
    profile.killBrowser();
    profile.remove();
  }
});

test('38 stack: a complete whose answer was lost succeeds when it is sent again', async ({
  page,
  server,
}) => {
  const { app, token, api } = await newApp();
  await openLab(page, server);
  // In the page itself, where Playwright can lose an answer.
  await client(page, api, { token, host: 'main', retryDelay: 50 });
  let completes = 0;
  await page.route('**/complete?*', async (route) => {
    if (route.request().method() !== 'POST') return route.continue();
    completes += 1;
    if (completes > 1) return route.continue();
    await route.fetch();
    await route.abort('connectionreset');
  });
  const file = diskFile(20 * MIB);
  const id = await pick(page, file);
  await reaches(page, id, 'completed');
  expect(completes).toBe(2);
  const all = await rows(app);
  expect(all.map(({ status }) => status)).toEqual(['COMPLETED']);
  expect(await sha256OfObject(all[0]?.key ?? '')).toBe(file.sha256);
});

test('40 stack: a cancelled upload ends ABORTED, without parts', async ({ page, server }) => {
  const { app, token, api } = await newApp();
  await openLab(page, server);
  await client(page, api, { token, bytesPerSec: 5 * MIB });
  const id = await pick(page, diskFile(40 * MIB));
  await eventually(async () => ((await rows(app))[0]?.uploaded_bytes ?? 0) > 0);
  await command(page, 'cancel', id);
  const all = await rows(app);
  expect(all.map(({ status }) => status)).toEqual(['ABORTED']);
  expect(all[0]?.uploaded_bytes ?? 0).toBe(0);
  expect(await stored(page)).toEqual({ sessions: 0, files: 0 });
});

test('46 stack: a token of another kind is AUTH_FAILED, and its message holds no token', async ({
  page,
  server,
}) => {
  const { app, api } = await newApp();
  const { token } = await app.call<{ token: string }>('POST', `/apps/${app.id}/join-tokens`, {
    meetingId: 'm-1',
    attendeeId: 'a-1',
  });
  await openLab(page, server);
  await client(page, api, { token, retryDelay: 20 });
  const id = await pick(page, diskFile(MIB));
  await reaches(page, id, 'failed');
  const error = (await session(page, id))?.error;
  expect(error?.code).toBe('AUTH_FAILED');
  expect(JSON.stringify(error)).not.toContain(token.slice(0, 20));
});
