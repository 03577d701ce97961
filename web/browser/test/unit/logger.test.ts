/** What `createLogger`, `S3Logger` and `pinoTransmit` make of what an application hands them. */

import assert from 'node:assert/strict';
import test from 'node:test';
import type { Message } from '../../src/host/port.ts';

const globals = globalThis as unknown as Record<string, unknown>;
globals.window = new EventTarget();
globals.document = new EventTarget();
globals.location = { href: 'https://shop.test/' };
Object.defineProperty(globals, 'localStorage', { value: {}, configurable: true });

const { createLogger, pinoTransmit, S3Logger } = await import('../../src/logs/index.ts');
type Options = Partial<Parameters<typeof createLogger>[0]>;

/** A worker that keeps the lines that it gets. */
function fakeWorker(lines: string[]): () => Worker {
  return () => {
    const answer = (data: Message) => queueMicrotask(() => worker.onmessage?.({ data }));
    const worker = Object.assign(new EventTarget(), {
      onmessage: null as ((event: { data: Message }) => void) | null,
      terminate() {},
      postMessage({ command, request, entries }: Message) {
        if (command === 'LOG_WORKER_INITIALIZE')
          answer({ command: 'LOG_WORKER_READY', storage: 'indexeddb' });
        if (command === 'PUT_LOGS') lines.push(...entries);
        if (command === 'TERMINATE') answer({ command: 'LOG_WORKER_TERMINATED', request });
      },
    });
    return worker as unknown as Worker;
  };
}

function make(options: Options = {}) {
  const lines: string[] = [];
  const logger = createLogger({
    endpoint: 'https://api.test',
    getToken: () => null,
    scope: { meetingId: 'm', attendeeId: 'a' },
    worker: fakeWorker(lines),
    host: 'dedicated',
    ...options,
  });
  return { logger, logged: async () => logger.destroy().then(() => lines.map((line) => JSON.parse(line))) };
}

const unprintable = Object.create(null);

test('21 what throws while it is logged costs its own entry, and its reason is redacted', async () => {
  const { logger, logged } = make();
  logger.info(() => {
    throw unprintable;
  });
  logger.info(() => {
    throw new Error('login with password=hunter2');
  });
  const context = {
    get broken() {
      throw new Error('no');
    },
    id: 7,
  };
  logger.info('order', context);
  logger.child(context).info('child');
  const entries = await logged();
  assert.deepEqual(
    entries.map(({ level, msg, context }) => [level, msg, context]),
    [
      ['warn', 'logferry: an entry could not be formatted: unknown', undefined],
      ['warn', 'logferry: an entry could not be formatted: login with password=[redacted]', undefined],
      ['info', 'order', { broken: '[unreadable]', id: 7 }],
      ['info', 'child', { broken: '[unreadable]', id: 7 }],
    ],
  );
});

test('an error in the place of the context is logged', async () => {
  const { logger, logged } = make({ context: { page: 'cart' } });
  logger.error('payment failed', new TypeError('declined') as never);
  const [{ context }] = await logged();
  assert.deepEqual(
    [context.page, context.error.name, context.error.message],
    ['cart', 'TypeError', 'declined'],
  );
});

test('whatever beforeSend returns, the line is JSON with time and message', async () => {
  const returns: unknown[] = [{ time: undefined }, { time: Number.NaN }, { message: { basket: 3 } }];
  const { logger, logged } = make({ beforeSend: (entry) => ({ ...entry, ...(returns.shift() as object) }) });
  for (const text of ['a', 'b', 'c']) logger.info(text);
  assert.deepEqual(
    (await logged()).map(({ time, msg }) => [Number.isInteger(time), msg]),
    [
      [true, 'a'],
      [true, 'b'],
      [true, '{"basket":3}'],
    ],
  );
});

test('a level may be in lower case', async () => {
  const { logger, logged } = make({ level: 'debug' as never });
  logger.debug('heard');
  logger.setLevel('off' as never);
  logger.error('unheard');
  assert.deepEqual(
    (await logged()).map(({ msg }) => msg),
    ['heard'],
  );
});

test('pino hands over what cannot be printed or read', async () => {
  const { logger, logged } = make();
  const broken = {
    get broken() {
      throw new Error('no');
    },
  };
  const { send } = pinoTransmit(logger);
  send('info', { messages: ['text', unprintable], bindings: [broken], level: { value: 30 } });
  const [{ level, msg }] = await logged();
  assert.deepEqual([level, msg.startsWith('logferry: an entry could not be formatted')], ['warn', true]);
});

test('S3Logger takes errors of any kind', async () => {
  const lines: string[] = [];
  const logger = new S3Logger({
    presignedUrl: 'https://api.test/presigned-url',
    meetingId: 'm',
    attendeeId: 'a',
    joinToken: 'j',
    worker: fakeWorker(lines),
    host: 'dedicated',
  });
  logger.error(Object.assign(new Error('odd'), { stack: [{}] }));
  logger.error(() => {
    throw unprintable;
  });
  await logger.destroy();
  assert.equal(lines.length, 2);
  assert.match(lines[0] ?? '', /\[ERROR\] Error: odd/);
});
