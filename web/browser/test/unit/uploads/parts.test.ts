import assert from 'node:assert/strict';
import test from 'node:test';
import { difference, fingerprint } from '../../../src/uploads/fingerprint.ts';
import { Pace, Slots } from '../../../src/uploads/pace.ts';
import { choosePartSize, fitting, plan } from '../../../src/uploads/plan.ts';
import { UploadQueue } from '../../../src/uploads/queue.ts';
import { Position, Speed, Throttle } from '../../../src/uploads/speed.ts';
import { FakeClock, MIB, turn } from './fakes.ts';

const never = new AbortController().signal;

test('parts cover the file without gap or overlap', () => {
  const shape = (size: number) =>
    plan(size, 8).map(({ number, offset, size: bytes }) => [number, offset, bytes]);
  assert.deepEqual(shape(20), [
    [1, 0, 8],
    [2, 8, 8],
    [3, 16, 4],
  ]);
  assert.deepEqual(shape(16), [
    [1, 0, 8],
    [2, 8, 8],
  ]);
  assert.deepEqual(shape(0), []);
});

test('a part size is never below 5 MiB and never makes more than 10,000 parts', () => {
  assert.equal(choosePartSize(100 * MIB, 8 * MIB, 0, false), 8 * MIB);
  assert.equal(choosePartSize(100 * MIB, 8 * MIB, 16 * MIB, false), 16 * MIB);
  assert.equal(choosePartSize(100 * MIB, 8 * MIB, MIB, false), 5 * MIB);
  assert.equal(choosePartSize(100 * MIB, 8 * MIB, 16 * MIB, true), 5 * MIB);
  const huge = 100_000 * MIB;
  assert.ok(Math.ceil(huge / choosePartSize(huge, 8 * MIB, 0, true)) <= 10_000);
});

test('a stored part of another size is not taken for ours', () => {
  const stored = [
    { number: 1, etag: 'a', size: 8 },
    { number: 2, etag: 'b', size: 5 },
    { number: 9, etag: 'c', size: 8 },
  ];
  assert.deepEqual([...fitting(plan(20, 8), stored)], [[1, 'a']]);
});

test('a file is known again by its content, whatever its name', async () => {
  const bytes = new Uint8Array(300_000).map((_, at) => at % 251);
  const [one, same] = [new File([bytes], 'one'), new File([bytes], 'same')];
  bytes[150_000] = 7;
  const other = new File([bytes], 'one');
  assert.equal(await fingerprint(one), await fingerprint(same));
  assert.notEqual(await fingerprint(one), await fingerprint(other));
  const facts = { fileSize: 3, fingerprint: 'x' };
  assert.equal(difference(facts, { ...facts }), null);
  assert.match(difference(facts, { ...facts, fileSize: 4 }) ?? '', /4 bytes instead of 3/);
  assert.match(difference(facts, { ...facts, fingerprint: 'y' }) ?? '', /content/);
});

test('a pace lets no more through than its rate, and a change holds at once', async () => {
  const clock = new FakeClock();
  const pace = new Pace(clock, 1_000);
  const begun = clock.now();
  for (let taken = 0; taken < 11; taken += 1) await clock.until(pace.take(500, never));
  assert.equal(clock.now() - begun, 5_000);

  const free = pace.take(500, never);
  pace.limit(null);
  await clock.until(free);
  assert.equal(clock.now() - begun, 5_000);
});

test('two uploads share a pace in turn, and one that gives up leaves the rest waiting', async () => {
  const clock = new FakeClock();
  const pace = new Pace(clock, 1_000);
  const order: string[] = [];
  const stop = new AbortController();
  void pace.take(1_000, never).then(() => order.push('a'));
  const gone = pace.take(1_000, stop.signal).then(() => order.push('b'));
  void pace.take(1_000, never).then(() => order.push('c'));
  stop.abort(new Error('stopped'));
  await assert.rejects(gone);
  await clock.pass(1_000);
  assert.deepEqual(order, ['a', 'c']);
});

test('slots are given in turn and never twice', async () => {
  const slots = new Slots(1);
  const first = await slots.take(never);
  const stop = new AbortController();
  const gone = slots.take(stop.signal);
  let third = false;
  void slots.take(never).then(() => {
    third = true;
  });
  stop.abort(new Error('stopped'));
  await assert.rejects(gone);
  assert.equal(third, false);
  first();
  await turn();
  assert.equal(third, true);
});

test('progress has one decimal, never falls, and leaves 100 to the end', () => {
  const position = new Position(1_000, 0);
  position.sent(1, 400);
  assert.equal(position.progress, 40);
  position.sent(1, 0);
  assert.deepEqual([position.uploadedBytes, position.progress], [0, 40]);
  position.sent(1, 1_000);
  position.done(1, 1_000);
  assert.deepEqual([position.uploadedBytes, position.progress], [1_000, 99.9]);
});

test('speed is the mean of the last 15 seconds, and unknown in the first', () => {
  const speed = new Speed();
  speed.add(0, 0);
  assert.equal(speed.bytesPerSec(500), undefined);
  for (let at = 100; at <= 10_000; at += 100) speed.add(at, at);
  assert.equal(speed.bytesPerSec(10_000), 1_000);
  for (let at = 10_100; at <= 30_000; at += 100) speed.add(at, 10_000 + (at - 10_000) * 2);
  assert.equal(speed.bytesPerSec(30_000), 2_000);
  assert.equal(speed.secondsFor(4_000, 30_000), 2);
});

test('a throttle passes ten calls a second, and always the last', async () => {
  const clock = new FakeClock();
  let calls = 0;
  const throttle = new Throttle(clock, () => {
    calls += 1;
  });
  for (let at = 0; at < 100; at += 1) {
    throttle.touch();
    await clock.pass(10);
  }
  await clock.pass(100);
  assert.ok(calls >= 10 && calls <= 11, `${calls} calls`);
});

test('a queue runs first in, first out, by priority, and reorders what waits', () => {
  const queue = new UploadQueue(1);
  for (const id of ['a', 'b', 'c']) queue.add(id, 0);
  queue.add('urgent', 1);
  assert.deepEqual(queue.next(), ['urgent']);
  assert.deepEqual(queue.next(), []);
  queue.reorder(['c', 'unknown']);
  assert.deepEqual(
    queue.waiting.map(({ id }) => id),
    ['c', 'a', 'b'],
  );
  queue.remove('urgent');
  assert.deepEqual(queue.next(), ['c']);
  queue.add('high', 2);
  queue.reorder(['b', 'high']);
  queue.add('late', 2);
  assert.deepEqual(
    queue.waiting.map(({ id, priority }) => [id, priority]),
    [
      ['b', 2],
      ['high', 2],
      ['late', 2],
      ['a', 0],
    ],
  );
});
