import assert from 'node:assert/strict';
import test from 'node:test';
import type { Http } from '../../../src/host/http.ts';
import { authorized } from '../../../src/uploads/api.ts';
import { Stopped, UploadRun } from '../../../src/uploads/core.ts';
import type { UploadFailure } from '../../../src/uploads/errors.ts';
import type { UploadSettings } from '../../../src/uploads/protocol.ts';
import { UploadService } from '../../../src/uploads/service.ts';
import type { UploadRecord } from '../../../src/uploads/sessions.ts';
import { FakeClock, FakeCloud, FakeFile, MIB, ports, record, settings } from './fakes.ts';

interface Lab {
  clock: FakeClock;
  cloud: FakeCloud;
  file: FakeFile;
  record: UploadRecord;
  run: UploadRun;
  statuses: string[];
  progress: number[];
}

function lab(
  bytes: number,
  more: {
    record?: UploadRecord;
    cloud?: FakeCloud;
    settings?: Partial<UploadSettings>;
    file?: null;
    bytesPerSec?: number;
  } = {},
): Lab {
  const clock = new FakeClock();
  const cloud = more.cloud ?? new FakeCloud(clock);
  const file = new FakeFile(bytes);
  const made: Lab = {
    clock,
    cloud,
    file,
    record: more.record ?? record(bytes),
    statuses: [],
    progress: [],
    run: undefined as unknown as UploadRun,
  };
  const all = { ...ports(clock, cloud, more.bytesPerSec ?? null), store: { put: async () => {} } };
  made.run = new UploadRun(made.record, more.file === null ? null : file.file, all, settings(more.settings), {
    status: (status) => made.statuses.push(status),
    moved: () => made.progress.push(made.run.progress.progress),
  });
  return made;
}

const code = (wanted: string) => (error: UploadFailure) => error.code === wanted;

test('parts begin in order, three at once, and the object is completed', async () => {
  const { run, clock, cloud, statuses, progress } = lab(60 * MIB);
  const done = await clock.until(run.run());
  assert.equal(done.key, 'key-s1');
  const begun = cloud.calls.filter((call) => call.startsWith('part'));
  assert.deepEqual(begun, ['part 1', 'part 2', 'part 3', 'part 4', 'part 5', 'part 6', 'part 7', 'part 8']);
  assert.equal(cloud.mostOpen, 3);
  assert.equal(cloud.sessions.get('s1')?.status, 'COMPLETED');
  assert.deepEqual([statuses[0], statuses.at(-1)], ['uploading', 'completing']);
  assert.ok(
    progress.every((value, at) => value >= (progress[at - 1] ?? 0)),
    'progress fell',
  );
  assert.ok(Math.max(...progress) < 100, '100 before the end');
});

test('a run that resumes sends only what S3 lacks', async () => {
  const first = lab(40 * MIB);
  first.cloud.partMs = 1_000;
  const ended = first.run.run();
  ended.catch(() => {});
  await first.clock.pass(1_500);
  first.run.stop();
  await assert.rejects(first.clock.until(ended));
  const stored = first.cloud.sessions.get('s1')?.parts.size ?? 0;
  assert.equal(stored, 3);
  const calls = first.cloud.calls.length;
  await first.clock.pass(60_000);
  assert.equal(first.cloud.calls.length, calls, 'a request after the stop');

  const second = lab(40 * MIB, { record: first.record });
  second.cloud.sessions.set('s1', first.cloud.sessions.get('s1')!);
  await second.clock.until(second.run.run());
  assert.deepEqual(second.cloud.calls, ['list', 'batch 4,5', 'part 4', 'part 5', 'complete']);
});

test('a run that is stopped while the page looks for a token ends at once, and makes no request', async () => {
  const old = record(40 * MIB, { sessionId: 's1', key: 'key-s1', partSize: 8 * MIB });
  for (const first of [record(40 * MIB), old]) {
    const clock = new FakeClock();
    let give = (_token: string) => {};
    const token = new Promise<string>((resolve) => {
      give = resolve;
    });
    const requests: string[] = [];
    const http: Http = async ({ method, url }) => {
      requests.push(`${method} ${url}`);
      return { status: 500, retryAfterMs: undefined, text: '' };
    };
    const service = new UploadService(authorized('https://api', http, () => token));
    const all = { ...ports(clock, new FakeCloud(clock)), service, store: { put: async () => {} } };
    const events = { status: () => {}, moved: () => {} };
    const run = new UploadRun(first, new FakeFile(40 * MIB).file, all, settings(), events);
    const ended = run.run();
    ended.catch(() => {});
    await clock.pass(1_000);
    run.stop();
    await assert.rejects(clock.until(ended), Stopped);
    give('token');
    await clock.pass(600_000);
    assert.deepEqual(requests, []);
  }
});

test('a part that fails and then succeeds costs a try, and progress never falls', async () => {
  const { run, clock, cloud, progress } = lab(40 * MIB);
  cloud.fault('part', { status: 500 }, 2);
  cloud.fault('part', 'cut', 2);
  cloud.fault('part', { status: 429, retryAfterMs: 7_000 });
  await clock.until(run.run());
  assert.equal(cloud.count('part'), 10);
  assert.ok(
    progress.every((value, at) => value >= (progress[at - 1] ?? 0)),
    'progress fell',
  );
});

test('six failures of a part are the end, and a retry goes on from there', async () => {
  const { run, clock, cloud, record } = lab(24 * MIB, { settings: { parallel: 1 } });
  cloud.fault('part', { status: 500 }, 6);
  await assert.rejects(clock.until(run.run()), code('CHUNK_UPLOAD_FAILED'));
  assert.equal(cloud.count('part 1'), 6);
  const again = lab(24 * MIB, { record });
  again.cloud.sessions.set('s1', cloud.sessions.get('s1')!);
  await again.clock.until(again.run.run());
  assert.equal(again.cloud.count('create'), 0);
});

test('an expired URL is replaced by a fresh one', async () => {
  const { run, clock, cloud } = lab(24 * MIB);
  cloud.fault('part', { status: 403 });
  await clock.until(run.run());
  assert.equal(cloud.count('batch'), 2);
});

test('while the network is away nothing is used up', async () => {
  const { run, clock, cloud, statuses } = lab(40 * MIB);
  cloud.partMs = 1_000;
  const done = run.run();
  await clock.pass(1_500);
  cloud.online = false;
  await clock.pass(600_000);
  assert.equal(statuses.at(-1), 'waiting');
  cloud.goOnline();
  await clock.until(done);
  assert.deepEqual(
    statuses.filter((status) => status === 'waiting'),
    ['waiting'],
  );
});

test('an outage that the browser does not notice is waited for, too', async () => {
  const { run, clock, cloud, statuses } = lab(40 * MIB);
  cloud.partMs = 1_000;
  const done = run.run();
  await clock.pass(1_500);
  cloud.network.online = () => true;
  cloud.online = false;
  await clock.pass(600_000);
  assert.equal(statuses.at(-1), 'waiting');
  cloud.online = true;
  await clock.until(done);
});

test('a network that the browser believes to be away is tried every 30 seconds', async () => {
  const { run, clock, cloud } = lab(40 * MIB);
  cloud.network.online = () => false;
  cloud.fault('create', 'cut', 3);
  cloud.fault('part', 'cut');
  const done = run.run();
  await clock.pass(29_000);
  assert.equal(cloud.count('create'), 1);
  await clock.pass(62_000);
  assert.equal(cloud.count('create'), 4);
  await clock.until(done);
});

test('an endpoint that never answers is an error, not a wait', async () => {
  const { run, clock, cloud } = lab(MIB);
  cloud.fault('create', 'cut', 100);
  await assert.rejects(clock.until(run.run()), code('NETWORK_ERROR'));
  assert.equal(cloud.count('create'), 6);
});

test('a 200 without a readable ETag ends the upload and names the CORS rule', async () => {
  const { run, clock, cloud } = lab(24 * MIB);
  cloud.fault('part', 'no-etag', 10);
  await assert.rejects(clock.until(run.run()), /ExposeHeaders/);
  assert.equal(cloud.count('complete'), 0);
});

test('a complete whose answer was lost is repeated', async () => {
  const { run, clock, cloud } = lab(8 * MIB);
  cloud.fault('complete', 'lost');
  const done = await clock.until(run.run());
  assert.equal(done.key, 'key-s1');
  assert.equal(cloud.count('complete'), 2);
});

test('what S3 lacks at complete is sent, three rounds at most', async () => {
  const one = lab(24 * MIB);
  const ended = one.run.run();
  one.cloud.fault('complete', { status: 409 });
  await one.clock.until(ended);
  assert.equal(one.cloud.count('list'), 1);

  const never = lab(24 * MIB);
  never.cloud.fault('complete', { status: 409 }, 9);
  await assert.rejects(never.clock.until(never.run.run()), code('UPLOAD_COMPLETE_FAILED'));
  assert.equal(never.cloud.count('complete'), 3);
});

test('a session that was completed unseen is the end, and one that has ended is replaced once', async () => {
  const old = record(8 * MIB, { sessionId: 's1', key: 'key-s1', partSize: 8 * MIB });
  const seen = lab(8 * MIB, { record: { ...old } });
  const parts = new Map([[1, { etag: 'e', size: 8 * MIB }]]);
  seen.cloud.sessions.set('s1', { size: 8 * MIB, key: 'key-s1', parts, status: 'COMPLETED' });
  assert.equal((await seen.clock.until(seen.run.run())).key, 'key-s1');
  assert.equal(seen.cloud.count('part'), 0);

  const gone = lab(8 * MIB, { record: { ...old, sessionId: 'unknown' } });
  await gone.clock.until(gone.run.run());
  assert.deepEqual(gone.cloud.calls, ['list', 'complete', 'create', 'batch 1', 'part 1', 'complete']);
});

test('a file that changes on disk ends the upload, and nothing is completed', async () => {
  const { run, clock, cloud, file } = lab(40 * MIB);
  cloud.partMs = 1_000;
  const done = run.run();
  await clock.pass(1_500);
  file.broken = true;
  cloud.fault('part', 'cut', 100);
  await assert.rejects(clock.until(done), code('FILE_CHANGED'));
  assert.equal(cloud.count('complete'), 0);
});

test('a refused credential, a full quota and a refused type are errors of their own', async () => {
  const cases = [
    [{ status: 401 }, 'AUTH_FAILED'],
    [{ status: 403 }, 'AUTH_FAILED'],
    [{ status: 415 }, 'VALIDATION_ERROR'],
    [{ status: 413 }, 'VALIDATION_ERROR'],
    [{ status: 429, body: { error: 's3: too many uploads of this app are open' } }, 'QUOTA_REACHED'],
    [{ status: 503 }, 'UPLOAD_INIT_FAILED'],
  ] as const;
  for (const [fault, expected] of cases) {
    const { run, clock, cloud } = lab(MIB);
    cloud.fault('create', fault, 100);
    await assert.rejects(clock.until(run.run()), code(expected));
  }
});

test('ten thousand parts take at most 600 signing calls', async () => {
  const { run, clock, cloud } = lab(10_000 * 8 * MIB);
  cloud.partMs = 10;
  await clock.until(run.run());
  assert.equal(cloud.count('part'), 10_000);
  assert.ok(cloud.count('batch') <= 600, `${cloud.count('batch')} calls`);
});

test('a limited upload takes parts of 5 MiB, one at a time, and keeps the limit', async () => {
  const { run, clock, cloud } = lab(40 * MIB, { bytesPerSec: 2 * MIB });
  const begun = clock.now();
  await clock.until(run.run());
  const secs = (clock.now() - begun) / 1_000;
  assert.equal(cloud.count('part'), 8);
  assert.equal(cloud.mostOpen, 1);
  assert.ok(secs >= 17 && secs <= 23, `${secs} s`);
});
