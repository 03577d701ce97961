/** A page with an upload client, and what the tests ask of it. */

import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Page } from '@playwright/test';
import type * as uploadsModule from '../../src/uploads/index.ts';
import type { UploadSession, UploadsOptions, UploadWorkerResponse } from '../../src/uploads/index.ts';
import type { FaultServer } from './fault-server.ts';
import { openLab } from './fixtures.ts';
import { type UploadSession as Stored, sessionsOf } from './upload-routes.ts';

export const MIB = 1024 * 1024;

type Options = Partial<Omit<UploadsOptions, 'getToken'>> & { token?: string };

/** What the lab page has in `window`. */
interface LabWindow {
  uploads: typeof uploadsModule;
  up: uploadsModule.Uploads;
  seen: (UploadWorkerResponse & { at: number })[];
  tokens: string[];
}

/** Makes the page's upload client; a file input is there for files of the disk. */
export async function client(page: Page, api: string, options: Options = {}): Promise<void> {
  await page.evaluate(
    async ([endpoint, { token = 'token', ...more }]) => {
      const lab = window as unknown as LabWindow;
      lab.seen = [];
      lab.tokens = [];
      lab.up = lab.uploads.createUploads({
        endpoint,
        getToken: ({ reason }) => {
          lab.tokens.push(reason);
          return token;
        },
        ...more,
      });
      for (const event of ['progress', 'complete', 'error', 'paused', 'cancelled', 'needs-file'] as const) {
        lab.up.on(event, (message) => lab.seen.push({ ...message, at: performance.now() }));
      }
      for (const event of ['queued', 'waiting', 'removed'] as const) {
        lab.up.on(event, (message) => lab.seen.push({ ...message, at: performance.now() }));
      }
      if (!document.querySelector('input')) {
        const input = document.createElement('input');
        input.type = 'file';
        document.body.append(input);
      }
      // The worker has answered and has read its database.
      await new Promise<void>((ready) => {
        const off = lab.up.on('sessions', ({ sessions }) => {
          if (!sessions) return;
          off();
          ready();
        });
      });
    },
    [api, options] as const,
  );
}

export async function openClient(page: Page, server: FaultServer, options: Options = {}): Promise<void> {
  await openLab(page, server);
  await client(page, server.api, options);
}

export interface DiskFile {
  path: string;
  sha256: string;
}

const folder = mkdtempSync(join(tmpdir(), 'logferry-uploads-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
let files = 0;

/** A file of random bytes on the disk. */
export function diskFile(bytes: number, name = `film-${++files}.bin`): DiskFile {
  const body = Buffer.alloc(bytes);
  // Random enough to tell parts apart, and quick.
  const seed = randomBytes(MIB);
  for (let at = 0; at < bytes; at += MIB) {
    seed.copy(body, at, 0, Math.min(MIB, bytes - at));
    body.writeUInt32LE(at / MIB, at);
  }
  const path = join(folder, name);
  writeFileSync(path, body);
  return { path, sha256: createHash('sha256').update(body).digest('hex') };
}

/** Picks the file in the page's input and starts its upload, or resumes `id` with it. */
export async function pick(page: Page, file: DiskFile, id?: string): Promise<string> {
  await page.setInputFiles('input', file.path);
  return page.evaluate(async (known) => {
    const lab = window as unknown as LabWindow;
    const picked = document.querySelector('input')?.files?.[0];
    if (!picked) throw new Error('no file is picked');
    if (known === null) return lab.up.start(picked);
    await lab.up.resume(known, picked);
    return known;
  }, id ?? null);
}

/** Starts the upload of a file that the page makes. */
export function start(page: Page, bytes: number, name = 'film.mp4', type = 'video/mp4'): Promise<string> {
  return page.evaluate(
    ([size, fileName, fileType]) => {
      const lab = window as unknown as LabWindow;
      const block = crypto.getRandomValues(new Uint8Array(Math.min(size, 65_536)));
      const blocks = Array.from({ length: Math.ceil(size / 65_536) }, () => block);
      const body = new Blob(blocks).slice(0, size);
      return lab.up.start(new File([body], fileName, { type: fileType }));
    },
    [bytes, name, type] as const,
  );
}

type Command = 'pause' | 'resume' | 'cancel' | 'retry' | 'remove';

/** Runs a command; resolves with the failure's code and message, or with nothing. */
export function command(
  page: Page,
  name: Command,
  id: string,
): Promise<{ code: string; message: string } | null> {
  return page.evaluate(
    async ([method, uploadId]) => {
      try {
        await (window as unknown as LabWindow).up[method](uploadId);
        return null;
      } catch (error) {
        const { code, message } = error as { code: string; message: string };
        return { code, message };
      }
    },
    [name, id] as const,
  );
}

export function list(page: Page): Promise<UploadSession[]> {
  return page.evaluate(() => (window as unknown as LabWindow).up.list());
}

export async function session(page: Page, id: string): Promise<UploadSession | undefined> {
  return (await list(page)).find(({ uploadId }) => uploadId === id);
}

export function host(page: Page): Promise<string | undefined> {
  return page.evaluate(() => (window as unknown as LabWindow).up.host);
}

export function seen(page: Page): Promise<LabWindow['seen']> {
  return page.evaluate(() => (window as unknown as LabWindow).seen);
}

/** Polls until the upload has the status, and fails early at an end of another kind. */
export async function reaches(page: Page, id: string, status: string, timeoutMs = 120_000): Promise<void> {
  const until = Date.now() + timeoutMs;
  for (;;) {
    const now = await session(page, id);
    if (now?.status === status) return;
    const over = now && ['completed', 'failed', 'cancelled'].includes(now.status);
    if (over || Date.now() > until) {
      throw new Error(`upload is ${now?.status ?? 'unknown'}, not ${status}: ${now?.error?.message ?? ''}`);
    }
    await new Promise((done) => setTimeout(done, 25));
  }
}

/** Polls until `check` holds. */
export async function eventually(check: () => boolean | Promise<boolean>, timeoutMs = 60_000): Promise<void> {
  const until = Date.now() + timeoutMs;
  while (!(await check())) {
    if (Date.now() > until) throw new Error(`does not come to hold: ${check}`);
    await new Promise((done) => setTimeout(done, 20));
  }
}

/** The only session of the server. */
export function only(server: FaultServer): Stored {
  const all = [...sessionsOf(server).values()];
  if (all.length !== 1 || !all[0]) throw new Error(`${all.length} sessions`);
  return all[0];
}

/** Keys of all records in the upload database. */
export function stored(page: Page): Promise<{ sessions: number; files: number }> {
  return page.evaluate(
    () =>
      new Promise((resolve, reject) => {
        const opening = indexedDB.open('logferry-uploads-1');
        opening.onerror = () => reject(opening.error);
        opening.onsuccess = () => {
          const db = opening.result;
          const both = db.transaction(['sessions', 'files']);
          const sessions = both.objectStore('sessions').count();
          const files = both.objectStore('files').count();
          both.oncomplete = () => {
            db.close();
            resolve({ sessions: sessions.result, files: files.result });
          };
        };
      }),
  );
}
