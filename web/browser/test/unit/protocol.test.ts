import assert from 'node:assert/strict';
import test from 'node:test';
import { S3LogWorker } from '../../src/logs/s3-log-worker.ts';
import { ENDPOINT, FakePage, FakeWorld } from '../support/fake-service.ts';

const CONFIG = {
  presignedUrlEndpoint: ENDPOINT,
  meetingId: 'meeting-123',
  attendeeId: 'attendee-456',
  joinToken: 'join',
};

test('30 a client of the original protocol logs, uploads and terminates', async () => {
  const world = new FakeWorld();
  const page = new FakePage(world);
  page.send({
    command: 'LOG_WORKER_INITIALIZE',
    config: { ...CONFIG, maxEntries: 500, maxBytes: 50 * 1024 * 1024 },
  });
  page.send({ command: 'PUT_LOG', level: 'INFO', message: 'This is a log message' });
  page.send({ command: 'UPLOAD_LOGS', joinToken: 'join' });
  const [done] = await page.messages('LOG_UPLOAD_COMPLETE');
  assert.equal(done?.message, 'Successfully uploaded 1 logs');
  page.send({ command: 'UPLOAD_LOGS' });
  const [, again] = await page.messages('LOG_UPLOAD_COMPLETE', 2);
  assert.equal(again?.message, 'No logs to upload');
  page.send({ command: 'TERMINATE' });
  await page.messages('LOG_WORKER_TERMINATED');
  assert.deepEqual(world.lines, ['2026-01-01T00:00:00.000Z [INFO] This is a log message']);
  const [grant] = world.requests;
  assert.deepEqual(JSON.parse(String(grant?.body)), {
    meetingId: 'meeting-123',
    attendeeId: 'attendee-456',
    contentLength: done ? world.lines[0]!.length + 1 : 0,
  });
  assert.equal(grant?.headers?.Authorization, 'Bearer join');
});

test('an upload that fails answers with the reason, and the lines stay', async () => {
  const world = new FakeWorld();
  const page = new FakePage(world);
  world.answer = () => ({ status: 401, retryAfterMs: undefined, text: '{"error":{"message":"expired"}}' });
  page.send({ command: 'LOG_WORKER_INITIALIZE', config: CONFIG });
  page.send({ command: 'PUT_LOG', level: 'ERROR', message: 'lost?' });
  page.send({ command: 'UPLOAD_LOGS', request: 'r-1' });
  const [failed] = await page.messages('LOG_UPLOAD_FAILED');
  assert.deepEqual([failed?.code, failed?.request], ['AUTH_FAILED', 'r-1']);
  world.answer = () => null;
  page.send({ command: 'UPLOAD_LOGS', joinToken: 'a new one' });
  await page.messages('LOG_UPLOAD_COMPLETE');
  assert.equal(world.lines.length, 1);
});

test('commands that are unknown or come too early are answered', async () => {
  const page = new FakePage(new FakeWorld());
  page.send({ command: 'PUT_LOG', level: 'INFO', message: 'too early' });
  const [early] = await page.messages('LOG_WORKER_ERROR');
  assert.equal(early?.code, 'NOT_INITIALIZED');
  await page.start({});
  page.send({ command: 'FLY', request: 7 });
  const [, unknown] = await page.messages('LOG_WORKER_ERROR', 2);
  assert.deepEqual([unknown?.code, unknown?.request], ['UNKNOWN_COMMAND', 7]);
});

test('lines logged before the meeting is known go to the meeting that comes', async () => {
  const world = new FakeWorld();
  const page = new FakePage(world);
  page.send({ command: 'LOG_WORKER_INITIALIZE', config: { presignedUrlEndpoint: ENDPOINT } });
  page.send({ command: 'PUT_LOG', level: 'INFO', message: 'early' });
  page.send({ command: 'UPLOAD_LOGS' });
  const [failed] = await page.messages('LOG_UPLOAD_FAILED');
  assert.equal(failed?.code, 'NO_SCOPE');
  page.send({ command: 'UPDATE_METADATA', meetingId: 'm-9', attendeeId: 'a-9', joinToken: 'join' });
  page.send({ command: 'UPLOAD_LOGS' });
  await page.messages('LOG_UPLOAD_COMPLETE');
  assert.match(String(world.requests[0]?.body), /m-9/);
  assert.equal(world.lines.length, 1);
});

test('S3LogWorker is the same as a class', async () => {
  const world = new FakeWorld();
  const worker = new S3LogWorker(() => world.service);
  const answers: string[] = [];
  let closed = false;
  await worker.init(
    { config: CONFIG },
    ({ command }) => answers.push(command),
    () => {
      closed = true;
    },
  );
  worker.putLog({ level: 'WARN', message: 'by hand', timestamp: 0 });
  assert.equal(await worker.uploadLogs(), 'Successfully uploaded 1 logs');
  assert.deepEqual(world.lines, ['1970-01-01T00:00:00.000Z [WARN] by hand']);
  await worker.terminate();
  assert.deepEqual([answers[0], answers.at(-1), closed], ['LOG_WORKER_READY', 'LOG_WORKER_TERMINATED', true]);
});

test('S3LogWorker answers each of two uploads at once, and ends with its timers', async () => {
  const world = new FakeWorld();
  const worker = new S3LogWorker(() => world.service);
  await worker.init({ config: CONFIG }, () => {});
  worker.putLog({ level: 'INFO', message: 'once' });
  const both = Promise.all([worker.uploadLogs(), worker.uploadLogs()]);
  await world.clock.advance(1_000);
  assert.deepEqual(await both, ['Successfully uploaded 1 logs', 'Successfully uploaded 1 logs']);
  await worker.terminate();
  world.primary.scopes = () => assert.fail('the database is read after the end');
  await world.clock.advance(86_400_000);
});

test('lines posted right after UPDATE_METADATA belong to the new meeting, those before to the old', async () => {
  const world = new FakeWorld();
  const page = await FakePage.open(world);
  page.log('line 1');
  page.send({ command: 'UPDATE_METADATA', meetingId: 'm-2', attendeeId: 'a-2' });
  page.log('line 2');
  page.send({ command: 'UPLOAD_LOGS' });
  await page.messages('LOG_UPLOAD_COMPLETE');
  assert.deepEqual(world.lines, ['line 2']);
  page.send({ command: 'UPDATE_METADATA', meetingId: 'm-1', attendeeId: 'a-1' });
  page.send({ command: 'UPLOAD_LOGS' });
  await page.messages('LOG_UPLOAD_COMPLETE', 2);
  assert.deepEqual(world.lines, ['line 2', 'line 1']);
});
