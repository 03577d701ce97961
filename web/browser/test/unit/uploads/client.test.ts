import assert from 'node:assert/strict';
import test from 'node:test';
import type { UploadFailure } from '../../../src/uploads/errors.ts';
import type { UploadSession } from '../../../src/uploads/protocol.ts';
import { shown } from '../../../src/uploads/sessions.ts';
import { MIB, record, turn } from './fakes.ts';
import { Page } from './page.ts';

const session = (id: string, more: Partial<UploadSession> = {}): UploadSession => ({
  ...shown(record(MIB, { id, status: 'uploading' }), []),
  ...more,
});

const destroyed = (error: UploadFailure) => error.code === 'DESTROYED';

test('a listener that throws stops nothing, and its error is reported', async () => {
  const page = new Page();
  const uploads = page.client();
  const heard: string[] = [];
  uploads.on('change', () => {
    throw new Error('a bug of the app');
  });
  uploads.on('change', ({ type }) => heard.push(type));
  await uploads.pause('a');
  page.worker.tell({ type: 'PAUSED', session: session('a', { status: 'paused' }) });
  assert.deepEqual(heard, ['PAUSED']);
  assert.equal(uploads.list().length, 1);
  assert.equal(page.reported.length, 1);
});

test('without a host a command tries again, and so does the return of the network', async () => {
  const page = new Page();
  page.broken = true;
  const uploads = page.client();
  await assert.rejects(uploads.pause('a'), /no host answers/);
  page.window.dispatchEvent(new Event('online'));
  await turn();
  page.broken = false;
  page.window.dispatchEvent(new Event('online'));
  await turn();
  assert.equal(uploads.host, 'dedicated');

  page.broken = true;
  const other = page.client();
  await assert.rejects(other.pause('a'), /no host answers/);
  page.broken = false;
  await other.pause('a');
});

test('a client that is destroyed ends its open calls and refuses later ones', async () => {
  const page = new Page();
  const uploads = page.client();
  await uploads.pause('a');
  page.worker.answers = false;
  const open = uploads.pause('a');
  await turn();
  const ended = uploads.destroy();
  await assert.rejects(open, destroyed);
  await ended;
  assert.ok(page.worker.terminated);
  await assert.rejects(uploads.pause('a'), destroyed);

  const early = page.client();
  const never = early.pause('a');
  await Promise.all([early.destroy(), assert.rejects(never, destroyed)]);
  assert.ok(page.worker.terminated);
});

test('a worker that fails is ended before the next one starts, and commands alone start the fourth', async () => {
  const page = new Page();
  const uploads = page.client();
  await uploads.pause('a');
  for (let times = 0; times < 5; times += 1) {
    page.worker.die();
    await turn();
  }
  assert.equal(page.workers.length, 3);
  assert.ok(page.workers.every(({ terminated }) => terminated));
  await uploads.pause('a');
  assert.equal(page.workers.length, 4);
});

test('the tab asks before it closes only for uploads that it runs itself', async () => {
  const page = new Page();
  const [one, idle] = [page.client(), page.client()];
  await Promise.all([one.pause('a'), idle.pause('a')]);
  const [busy, other] = page.workers;
  busy?.tell({ type: 'QUEUED', session: session('a') });
  other?.tell({ type: 'SESSIONS', sessions: [] });
  assert.ok(page.asks);
  busy?.tell({ type: 'COMPLETE', session: session('a', { status: 'completed' }) });
  assert.ok(!page.asks);
  busy?.tell({ type: 'QUEUED', session: session('b', { elsewhere: true }) });
  busy?.tell({ type: 'PROGRESS', uploadId: 'b', progress: 50 });
  assert.ok(!page.asks);
});

test('what is not in the list of all uploads is gone', async () => {
  const page = new Page();
  const uploads = page.client();
  await uploads.pause('a');
  page.worker.tell({ type: 'QUEUED', session: session('ghost') });
  page.worker.tell({ type: 'PROGRESS', uploadId: 'ghost', progress: 50 });
  page.worker.tell({ type: 'SESSIONS', sessions: [session('a')] });
  assert.deepEqual(
    uploads.list().map(({ uploadId }) => uploadId),
    ['a'],
  );
  assert.equal(uploads.progressOf('ghost'), undefined);
});
