import assert from 'node:assert/strict';
import test from 'node:test';
import { realClock } from '../../src/host/clock.ts';
import { connect } from '../../src/host/host.ts';
import type { Message, Port } from '../../src/host/port.ts';

const HELLO = { command: 'HELLO' };

/** Answers HELLO with READY and everything else with itself. */
const serve = (port: Port) => {
  port.onmessage = ({ data }) => {
    port.postMessage(data.command === 'HELLO' ? { command: 'READY' } : { command: 'ECHO', data });
  };
};

test('where there are no workers the page itself is the host', async () => {
  const seen: string[] = [];
  const hosts = { main: async () => serve };
  const receive = (message: Message) => seen.push(message.command);
  const { kind, port, survives } = await connect('auto', hosts, HELLO, 'READY', receive);
  assert.deepEqual([kind, survives, seen], ['main', false, ['READY']]);
  port.postMessage({ command: 'X' });
  while (seen.length < 2) await new Promise((done) => setTimeout(done, 1));
  assert.deepEqual(seen, ['READY', 'ECHO']);
  port.close?.();
});

test('without any host the error lists the reasons', async () => {
  const hosts = { main: () => Promise.reject(new Error('the chunk is missing')) };
  await assert.rejects(
    connect('auto', hosts, HELLO, 'READY', () => {}),
    /main: the chunk is missing/,
  );
});

test('a timer that is longer than browsers take does not fire at once', (t) => {
  const asked = t.mock.method(globalThis, 'setTimeout', () => 0);
  for (const ms of [2 ** 31, Number.POSITIVE_INFINITY]) realClock.after(ms, () => {});
  assert.deepEqual(
    asked.mock.calls.map(({ arguments: [, ms] }) => ms),
    [2 ** 31 - 1, 2 ** 31 - 1],
  );
});
