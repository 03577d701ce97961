// Behaviour 43: a large file costs the browser no memory.
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '../support/fixtures.ts';
import { Profile } from '../support/persistent.ts';
import { MIB, only, openClient, pick, reaches, start } from '../support/upload-lab.ts';
import { sessionsOf } from '../support/upload-routes.ts';

const BYTES = (process.env.LOGFERRY_WEB_LONG ? 5 * 1024 : 256) * MIB;

test('43 a large sparse file is uploaded with at most 100 MiB more of memory', async ({ server }) => {
  test.setTimeout(300_000);
  const profile = new Profile();
  const folder = mkdtempSync(join(tmpdir(), 'logferry-sparse-'));
  const path = join(folder, 'sparse.bin');
  writeFileSync(path, '');
  truncateSync(path, BYTES);
  server.discardParts = true;
  try {
    const page = await (await profile.launch()).newPage();
    await openClient(page, server, { host: 'dedicated' });
    // A small one first: the browser's processes start and warm up on it.
    await reaches(page, await start(page, 40 * MIB), 'completed');
    sessionsOf(server).clear();
    await page.waitForTimeout(3_000);
    const before = profile.memoryBytes();
    let most = 0;
    const id = await pick(page, { path, sha256: '' });
    const weigh = setInterval(() => {
      most = Math.max(most, profile.memoryBytes() - before);
    }, 250);
    await reaches(page, id, 'completed', 240_000);
    clearInterval(weigh);
    console.log(`43: ${BYTES / MIB} MiB uploaded with ${Math.round(most / MIB)} MiB of memory`);
    expect(most).toBeLessThan(100 * MIB);
    const stored = [...only(server).parts.values()].reduce((bytes, { size }) => bytes + size, 0);
    expect(stored).toBe(BYTES);
  } finally {
    profile.killBrowser();
    profile.remove();
    rmSync(folder, { recursive: true });
  }
});
