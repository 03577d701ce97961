import assert from 'node:assert/strict';
import test from 'node:test';
import type { UploadFailure } from '../../../src/uploads/errors.ts';
import type { UploadSession, UploadWorkerMessage } from '../../../src/uploads/protocol.ts';
import { Browser, type Tab } from './browser.ts';
import { FakeFile, MIB, turn } from './fakes.ts';

const code = (wanted: string) => (error: UploadFailure) => error.code === wanted;

const start = (tab: Tab, uploadId: string, file: FakeFile, more: Partial<UploadWorkerMessage> = {}) =>
  tab.engine.handle({ type: 'START_UPLOAD', uploadId, file: file.file, ...more });

const statusOf = (tab: Tab, id: string): string | undefined =>
  tab.engine.sessions.find((session: UploadSession) => session.uploadId === id)?.status;

async function until(browser: Browser, done: () => boolean): Promise<void> {
  for (let turns = 0; turns < 5_000; turns += 1) {
    if (done()) return;
    await browser.clock.pass(10);
  }
  throw new Error('it does not happen');
}

test('ten files run one after the other, a paused one does not stop the rest, and the queue can be reordered', async () => {
  const browser = new Browser();
  const tab = await browser.tab();
  const ids = Array.from({ length: 10 }, (_, at) => `u${at}`);
  for (const id of ids) await start(tab, id, new FakeFile(9 * MIB, id));
  await tab.engine.handle({ type: 'PAUSE_UPLOAD', uploadId: 'u0' });
  await tab.engine.handle({ type: 'REORDER', uploadIds: ['u9', 'u8'] });
  await until(browser, () => ids.slice(1).every((id) => statusOf(tab, id) === 'completed'));
  const ended = tab.messages.filter(({ type }) => type === 'COMPLETE').map(({ uploadId }) => uploadId);
  assert.deepEqual(ended, ['u1', 'u9', 'u8', 'u2', 'u3', 'u4', 'u5', 'u6', 'u7']);
  assert.equal(statusOf(tab, 'u0'), 'paused');
  assert.ok(browser.cloud.mostOpen <= 3);
});

test('priority and order of the sessions tell in which order the queue runs, also after a restart', async () => {
  const browser = new Browser();
  const queued = (tab: Tab) =>
    tab.engine.sessions
      .filter(({ status }) => status === 'queued')
      .sort((one, other) => other.priority - one.priority || one.order - other.order)
      .map(({ uploadId }) => uploadId);
  const tab = await browser.tab();
  for (const id of ['runs', 'a', 'b', 'c']) await start(tab, id, new FakeFile(9 * MIB, id));
  await start(tab, 'urgent', new FakeFile(9 * MIB, 'urgent'), { options: { priority: 1 } });
  await until(browser, () => statusOf(tab, 'runs') === 'uploading');
  assert.deepEqual(queued(tab), ['urgent', 'a', 'b', 'c']);
  await tab.engine.handle({ type: 'REORDER', uploadIds: ['c', 'urgent'] });
  assert.deepEqual(queued(tab), ['c', 'urgent', 'a', 'b']);
  assert.equal(tab.messages.filter(({ session }) => session?.uploadId === 'c').at(-1)?.session?.order, 0);
  tab.die();
  const after = await browser.tab();
  await until(browser, () => statusOf(after, 'b') === 'completed');
  const ended = after.messages.filter(({ type }) => type === 'COMPLETE').map(({ uploadId }) => uploadId);
  assert.deepEqual(ended.slice(-4), ['c', 'urgent', 'a', 'b']);
});

test('two files at once share one limit', async () => {
  const browser = new Browser();
  const tab = await browser.tab({ maxActive: 2, bytesPerSec: 2 * MIB });
  const begun = browser.clock.now();
  await start(tab, 'a', new FakeFile(20 * MIB));
  await start(tab, 'b', new FakeFile(20 * MIB));
  await until(browser, () => ['a', 'b'].every((id) => statusOf(tab, id) === 'completed'));
  const secs = (browser.clock.now() - begun) / 1_000;
  assert.ok(secs >= 17 && secs <= 23, `${secs} s`);
});

test('no more than six parts are under way, whatever runs', async () => {
  const browser = new Browser();
  const tab = await browser.tab({ maxActive: 4 });
  for (const id of ['a', 'b', 'c', 'd']) await start(tab, id, new FakeFile(60 * MIB));
  await until(browser, () => ['a', 'b', 'c', 'd'].every((id) => statusOf(tab, id) === 'completed'));
  assert.equal(browser.cloud.mostOpen, 6);
});

test('what is refused makes no request: an empty file, a wrong type, too many bytes', async () => {
  const browser = new Browser();
  const tab = await browser.tab({ accept: 'image/*,.mp4', maxBytes: 10 * MIB });
  await assert.rejects(start(tab, 'a', new FakeFile(0)), code('VALIDATION_ERROR'));
  await assert.rejects(start(tab, 'b', new FakeFile(11 * MIB)), /at most 10485760/);
  await assert.rejects(start(tab, 'c', new FakeFile(MIB, 'notes.txt')), /no file of type/);
  assert.deepEqual(browser.cloud.calls, []);
  await start(tab, 'd', new FakeFile(MIB, 'FILM.MP4'));
  await start(await browser.tab({ accept: '*/*' }), 'e', new FakeFile(MIB, 'notes.txt'));
});

test('a message names the part size of its upload', async () => {
  const browser = new Browser();
  const tab = await browser.tab({ chunkSize: 6 * MIB });
  await start(tab, 'a', new FakeFile(40 * MIB), { chunkSize: 20 * MIB });
  await until(browser, () => statusOf(tab, 'a') === 'completed');
  assert.equal(browser.cloud.count('part'), 2);
});

test('a session that no token may free is left to the next worker, and other refusals but passing ones are final', async () => {
  for (const [status, tries, kept, later] of [
    [401, 1, 1, 1],
    [403, 1, 1, 1],
    [400, 1, 0, 0],
    [503, 10, 1, 1],
  ] as const) {
    const browser = new Browser();
    const tab = await browser.tab();
    await start(tab, 'a', new FakeFile(40 * MIB));
    await until(browser, () => browser.cloud.count('part') > 0);
    browser.cloud.fault('abort', { status }, 100);
    await tab.engine.handle({ type: 'CANCEL_UPLOAD', uploadId: 'a' });
    await browser.clock.pass(590_000);
    assert.equal(browser.cloud.count('abort'), tries);
    assert.equal((await browser.store.all('https://api|')).length, kept);
    tab.die();
    browser.cloud.calm();
    await browser.tab();
    await turn();
    assert.equal(browser.cloud.count('abort'), tries + later);
    assert.deepEqual(await browser.store.all('https://api|'), []);
  }
});

test('after a crash a kept file runs on by itself, a large one is asked for, and another one is refused', async () => {
  const browser = new Browser();
  browser.cloud.partMs = 1_000;
  const before = await browser.tab({ maxActive: 2 });
  const [small, large] = [new FakeFile(40 * MIB, 'small'), new FakeFile(60 * MIB, 'large')];
  await start(before, 'small', small);
  await start(before, 'large', large);
  await browser.clock.pass(1_500);
  before.die();
  const after = await browser.tab();
  assert.equal(statusOf(after, 'large'), 'needs-file');
  await until(browser, () => statusOf(after, 'small') === 'completed');
  assert.equal(browser.cloud.count('create'), 2);
  assert.equal(browser.cloud.count('part 1'), 2);
  const wrong = new FakeFile(60 * MIB, 'other');
  const pick = (file: FakeFile) =>
    after.engine.handle({ type: 'RESUME_WITH_FILE', uploadId: 'large', file: file.file });
  await assert.rejects(pick(wrong), code('FILE_MISMATCH'));
  assert.equal(statusOf(after, 'large'), 'needs-file');
  await pick(large);
  await until(browser, () => statusOf(after, 'large') === 'completed');
  assert.deepEqual(await browser.store.all('https://api|'), []);
});

test('a session of eight days ago is forgotten without a request', async () => {
  const browser = new Browser();
  const before = await browser.tab();
  await start(before, 'old', new FakeFile(40 * MIB));
  await before.engine.handle({ type: 'PAUSE_UPLOAD', uploadId: 'old' });
  before.die();
  await browser.clock.pass(8 * 86_400_000);
  const calls = browser.cloud.calls.length;
  const after = await browser.tab();
  assert.deepEqual(after.engine.sessions, []);
  assert.equal(browser.cloud.calls.length, calls);
});

test('a cancel frees the parts; offline, when the network is back, also after a restart', async () => {
  const browser = new Browser();
  browser.cloud.partMs = 1_000;
  const tab = await browser.tab({ maxActive: 2 });
  await start(tab, 'a', new FakeFile(40 * MIB));
  await start(tab, 'b', new FakeFile(40 * MIB));
  await browser.clock.pass(1_500);
  await tab.engine.handle({ type: 'CANCEL_UPLOAD', uploadId: 'a' });
  assert.equal(browser.cloud.sessions.get('s1')?.status, 'ABORTED');
  browser.cloud.online = false;
  await tab.engine.handle({ type: 'CANCEL_UPLOAD', uploadId: 'b' });
  assert.deepEqual(tab.engine.sessions, []);
  assert.equal((await browser.store.all('https://api|')).length, 1);
  tab.die();
  const later = await browser.tab();
  assert.deepEqual(later.engine.sessions, []);
  browser.cloud.goOnline();
  await turn();
  assert.equal(browser.cloud.sessions.get('s2')?.status, 'ABORTED');
  assert.deepEqual(await browser.store.all('https://api|'), []);
});

test('a cancel while the session is being created frees it, too', async () => {
  const browser = new Browser();
  const tab = await browser.tab();
  await start(tab, 'a', new FakeFile(40 * MIB));
  await tab.engine.handle({ type: 'CANCEL_UPLOAD', uploadId: 'a' });
  assert.deepEqual(
    [...browser.cloud.sessions.values()].map(({ status }) => status),
    browser.cloud.count('create') ? ['ABORTED'] : [],
  );
  assert.deepEqual(await browser.store.all('https://api|'), []);
});

test('another tab shows an upload, pauses and resumes it, and takes it over when its tab is gone', async () => {
  const browser = new Browser();
  browser.cloud.partMs = 1_000;
  const one = await browser.tab();
  const other = await browser.tab();
  await start(one, 'a', new FakeFile(40 * MIB));
  await browser.clock.pass(1_500);
  assert.equal(statusOf(other, 'a'), 'uploading');
  assert.deepEqual(
    [one, other].map(({ engine }) => engine.sessions[0]?.elsewhere),
    [undefined, true],
  );
  assert.ok(other.messages.some(({ type }) => type === 'PROGRESS'));
  await other.engine.handle({ type: 'PAUSE_UPLOAD', uploadId: 'a' });
  assert.deepEqual([statusOf(one, 'a'), statusOf(other, 'a')], ['paused', 'paused']);
  await other.engine.handle({ type: 'RESUME_UPLOAD', uploadId: 'a' });
  await browser.clock.pass(500);
  assert.equal(statusOf(one, 'a'), 'uploading');
  one.die();
  await until(browser, () => statusOf(other, 'a') === 'completed');
  assert.equal(other.engine.sessions[0]?.elsewhere, undefined);
  await assert.rejects(
    other.engine.handle({ type: 'PAUSE_UPLOAD', uploadId: 'unknown' }),
    /there is no upload unknown/,
  );
});

test('a tab that closes while another one opens leaves each upload once', async () => {
  for (let steps = 0; steps < 60; steps += 1) {
    const browser = new Browser();
    const first = await browser.tab();
    for (const id of ['a', 'b', 'c']) await start(first, id, new FakeFile(9 * MIB));
    first.die();
    const one = await browser.tab();
    await start(one, 'd', new FakeFile(9 * MIB));
    await one.engine.handle({ type: 'PAUSE_ALL' });
    const opening = browser.tab();
    for (let step = 0; step < steps; step += 1) await null;
    one.die();
    const { engine } = await opening;
    await until(browser, () => engine.sessions.every(({ elsewhere }) => !elsewhere));
    assert.equal(engine.sessions.length, 4);
  }
});

test('a command for another tab may take long, and runs here if that tab is gone', async () => {
  const browser = new Browser();
  browser.cloud.partMs = 60_000;
  const one = await browser.tab();
  const other = await browser.tab();
  await start(one, 'a', new FakeFile(40 * MIB));
  await until(browser, () => browser.cloud.count('part') > 0);
  await browser.clock.until(other.engine.handle({ type: 'PAUSE_UPLOAD', uploadId: 'a', finish: true }));
  assert.equal(statusOf(other, 'a'), 'paused');
  await other.engine.handle({ type: 'RESUME_UPLOAD', uploadId: 'a' });
  await until(browser, () => statusOf(other, 'a') === 'uploading');

  const slow = other.engine.handle({ type: 'PAUSE_UPLOAD', uploadId: 'a', finish: true });
  await browser.clock.pass(1_000);
  one.die();
  const unheard = other.engine.handle({ type: 'PAUSE_UPLOAD', uploadId: 'a' });
  await browser.clock.until(Promise.all([slow, unheard]));
  assert.equal(statusOf(other, 'a'), 'paused');
  assert.equal(other.engine.sessions[0]?.elsewhere, undefined);
});

test('what another tab completed is removed also where that tab is gone', async () => {
  const browser = new Browser();
  const one = await browser.tab();
  const other = await browser.tab();
  for (const id of ['a', 'b']) await start(one, id, new FakeFile(9 * MIB));
  await until(browser, () => statusOf(other, 'b') === 'completed');
  await other.engine.handle({ type: 'REMOVE_UPLOAD', uploadId: 'a' });
  assert.equal(statusOf(one, 'a'), undefined);
  one.die();
  await browser.clock.until(other.engine.handle({ type: 'REMOVE_UPLOAD', uploadId: 'b' }));
  assert.deepEqual(other.engine.sessions, []);
  assert.deepEqual(other.messages.at(-1)?.type, 'REMOVED');
});

test('a pause that lets parts end sends none of them again', async () => {
  const browser = new Browser();
  browser.cloud.partMs = 1_000;
  const tab = await browser.tab();
  await start(tab, 'a', new FakeFile(80 * MIB));
  await browser.clock.pass(1_500);
  const paused = tab.engine.handle({ type: 'PAUSE_UPLOAD', uploadId: 'a', finish: true });
  await browser.clock.until(paused);
  assert.equal(statusOf(tab, 'a'), 'paused');
  await tab.engine.handle({ type: 'RESUME_UPLOAD', uploadId: 'a' });
  await until(browser, () => statusOf(tab, 'a') === 'completed');
  assert.equal(browser.cloud.count('part'), 10);
});

test('resumes that wait for one run to end start one, which a pause stops', async () => {
  const browser = new Browser();
  const { cloud, clock } = browser;
  cloud.callMs = 1_000;
  const tab = await browser.tab();
  const command = (type: UploadWorkerMessage['type']) => tab.engine.handle({ type, uploadId: 'a' });
  await start(tab, 'a', new FakeFile(80 * MIB));
  for (let times = 0; times < 2; times += 1) {
    await command('PAUSE_UPLOAD');
    await command('RESUME_UPLOAD');
  }
  await until(browser, () => cloud.count('part') > 0);
  await command('PAUSE_UPLOAD');
  const calls = cloud.calls.length;
  await clock.pass(600_000);
  assert.deepEqual(cloud.calls.slice(calls), []);
  await command('RESUME_UPLOAD');
  await until(browser, () => statusOf(tab, 'a') === 'completed');
  assert.deepEqual([...cloud.sessions.keys()], ['s1']);
  assert.ok(cloud.mostOfOne <= 3);
});

test('a resume that follows a pause counts, even where the pause lets parts end', async () => {
  for (const between of [[], ['PAUSE_UPLOAD'], ['PAUSE_ALL', 'RESUME_ALL', 'PAUSE_UPLOAD']] as const) {
    const browser = new Browser();
    browser.cloud.partMs = 1_000;
    const tab = await browser.tab();
    await start(tab, 'a', new FakeFile(80 * MIB));
    await browser.clock.pass(1_500);
    const commands = [tab.engine.handle({ type: 'PAUSE_UPLOAD', uploadId: 'a', finish: true })];
    for (const type of [...between, 'RESUME_UPLOAD'] as const)
      commands.push(tab.engine.handle({ type, ...(type.endsWith('ALL') ? {} : { uploadId: 'a' }) }));
    await browser.clock.until(Promise.all(commands));
    await until(browser, () => statusOf(tab, 'a') === 'completed');
    assert.equal(browser.cloud.count('complete'), 1);
  }
});

test('a file that is picked while its upload is cancelled is not kept', async () => {
  const browser = new Browser();
  const tab = await browser.tab();
  await start(tab, 'a', new FakeFile(9 * MIB));
  await tab.engine.handle({ type: 'PAUSE_UPLOAD', uploadId: 'a' });
  const file = new FakeFile(9 * MIB).file;
  const picked = tab.engine.handle({ type: 'RESUME_WITH_FILE', uploadId: 'a', file });
  await tab.engine.handle({ type: 'CANCEL_UPLOAD', uploadId: 'a' });
  await picked;
  await turn();
  assert.equal(await browser.store.file('a'), undefined);
});

test('pause and resume in quick turn leave one run', async () => {
  const browser = new Browser();
  const tab = await browser.tab();
  await start(tab, 'a', new FakeFile(40 * MIB));
  for (let times = 0; times < 5; times += 1) {
    await tab.engine.handle({ type: 'PAUSE_UPLOAD', uploadId: 'a' });
    await tab.engine.handle({ type: 'RESUME_UPLOAD', uploadId: 'a' });
  }
  await until(browser, () => statusOf(tab, 'a') === 'completed');
  assert.ok(browser.cloud.mostOpen <= 3);
  const completed = [...browser.cloud.sessions.values()].filter(({ status }) => status === 'COMPLETED');
  assert.equal(completed.length, 1);
});
