import assert from 'node:assert/strict';
import test from 'node:test';
import { commandsOf, Shared } from '../../../src/react/use-upload-worker.ts';
import { shown } from '../../../src/uploads/sessions.ts';
import { MIB, record } from './fakes.ts';
import { Page } from './page.ts';

test('the queue is in the order in which the uploads run', async () => {
  const page = new Page();
  const shared = new Shared(page.options);
  await commandsOf(shared).pauseUpload('a');
  const session = (id: string, priority: number, order: number, status: 'queued' | 'paused' = 'queued') =>
    shown(record(MIB, { id, priority, order, status }), []);
  const sessions = [
    session('third', 0, 9),
    session('second', 0, 2),
    session('idle', 7, 0, 'paused'),
    session('first', 1, 5),
  ];
  page.worker.tell({ type: 'SESSIONS', sessions });
  assert.deepEqual(shared.snapshot().queue, ['first', 'second', 'third']);
});

test('the refusal of a file that has no upload is taken off the list', async () => {
  const page = new Page();
  const shared = new Shared(page.options);
  const { pauseUpload, startUpload, removeUpload } = commandsOf(shared);
  await pauseUpload('a');
  page.worker.answers = false;
  const started = startUpload({} as File);
  await new Promise(setImmediate);
  const { request } = page.worker.posted.at(-1)!;
  page.worker.tell({ type: 'ERROR', code: 'VALIDATION_ERROR', error: '"a" is empty', request });
  assert.equal(await started, null);
  const [id = ''] = shared.snapshot().uploadErrors.keys();
  const posted = page.worker.posted.length;
  await removeUpload(id);
  assert.equal(shared.snapshot().uploadErrors.size, 0);
  assert.equal(page.worker.posted.length, posted);
});
