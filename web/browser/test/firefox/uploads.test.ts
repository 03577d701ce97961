/** Behaviour 50: the upload client in a stock Firefox, driven over WebDriver BiDi. */

import assert from 'node:assert/strict';
import test from 'node:test';
import type { Page as PlaywrightPage } from '@playwright/test';
import { FaultServer } from '../support/fault-server.ts';
import { asPlaywright, firefox } from '../support/firefox.ts';
import {
  client,
  command,
  eventually,
  host as hostOf,
  MIB,
  only,
  reaches,
  seen,
  session,
  start,
} from '../support/upload-lab.ts';
import { sha256Of } from '../support/upload-routes.ts';

const browser = firefox();

/** A page of a server of its own, so with an origin and a database of its own. */
async function withLab(
  options: Parameters<typeof client>[2],
  run: (page: PlaywrightPage, server: FaultServer) => Promise<void>,
): Promise<void> {
  const server = await FaultServer.start();
  const opened = await browser().newPage();
  const page = asPlaywright(opened);
  try {
    await opened.goto(`${server.site}/lab.html`);
    await eventually(() => opened.evaluate(() => 'uploads' in window));
    await client(page, server.api, options);
    await run(page, server);
  } finally {
    await opened.close();
    await server.close();
  }
}

/** Starts the upload of a file that the page makes; with the SHA-256 of its bytes. */
async function startHashed(page: PlaywrightPage, bytes: number): Promise<{ id: string; sha256: string }> {
  return page.evaluate(async (size) => {
    const body = new Uint8Array(size);
    for (let at = 0; at < size; at += 65_536) crypto.getRandomValues(body.subarray(at, at + 65_536));
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', body));
    const { up } = window as unknown as { up: { start(file: File): Promise<string> } };
    const id = await up.start(new File([body], 'film.mp4', { type: 'video/mp4' }));
    return { id, sha256: Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('') };
  }, bytes);
}

test('50 (31) a paused upload makes no request, and resumes to the same bytes', () =>
  withLab({}, async (page, server) => {
    // Not a shared one: Firefox's ends with its last tab.
    assert.equal(await hostOf(page), 'dedicated');
    server.fault('part', { delayMs: 300 }, 1_000);
    const { id, sha256 } = await startHashed(page, 120 * MIB);
    await eventually(async () => ((await session(page, id))?.progress ?? 0) >= 20);
    await command(page, 'pause', id);
    assert.equal((await session(page, id))?.status, 'paused');
    const requests = server.calls.length;
    await new Promise((done) => setTimeout(done, 1_500));
    assert.equal(server.calls.length, requests);
    server.clearFaults();
    await command(page, 'resume', id);
    await reaches(page, id, 'completed');
    assert.equal(sha256Of(only(server)), sha256);
  }));

test('50 (36) without a network the upload waits and completes by itself', () =>
  withLab({ maxRetries: 0 }, async (page, server) => {
    server.fault('part', { delayMs: 200 }, 3);
    const id = await start(page, 80 * MIB);
    await eventually(() => server.count('part') > 3);
    server.fault('part', 'cut', 1_000);
    server.fault('batch', 'cut', 1_000);
    await reaches(page, id, 'waiting');
    await new Promise((done) => setTimeout(done, 3_000));
    assert.equal((await session(page, id))?.status, 'waiting');
    server.clearFaults();
    await reaches(page, id, 'completed');
  }));

test('50 (42) progress comes at most ten times a second, never falls, and ends with 100', () =>
  withLab({ chunkSize: 5 * MIB, retryDelay: 20 }, async (page, server) => {
    server.fault('part', { status: 500 }, 3, 6);
    server.fault('part', { delayMs: 150 }, 100);
    const id = await start(page, 80 * MIB);
    await reaches(page, id, 'completed');
    const messages = (await seen(page)).filter(({ progress }) => progress !== undefined);
    const progress = messages.map((message) => message.progress ?? 0);
    assert.deepEqual(
      progress,
      [...progress].sort((one, other) => one - other),
    );
    assert.deepEqual(
      messages.filter((message) => message.progress === 100).map(({ type }) => type),
      ['COMPLETE'],
    );
    const moved = messages.filter(({ type, session: whole }) => type === 'PROGRESS' && !whole);
    for (const { at } of moved) {
      const second = moved.filter((other) => other.at >= at && other.at < at + 1_000);
      // One more: the last of a second may arrive with the first of the next.
      assert.ok(second.length <= 11, `${second.length} messages in a second`);
    }
  }));
