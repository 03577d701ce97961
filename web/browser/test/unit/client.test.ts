/** The page's half: its host comes late or fails, listeners of the application throw. */

import assert from 'node:assert/strict';
import test from 'node:test';
import type { Message, Port, Serve } from '../../src/host/port.ts';
import { LogClient } from '../../src/logs/client.ts';
import type { LogferryError } from '../../src/logs/error.ts';
import { FakeBrowser, leave, MEETING } from '../support/fake-browser.ts';
import { ENDPOINT, FakeWorld } from '../support/fake-service.ts';

const globals = globalThis as unknown as Record<string, unknown>;

interface Page {
  world: FakeWorld;
  client: LogClient;
  window: EventTarget;
  document: EventTarget & { visibilityState?: string };
  /** What the page has said to its host. */
  said: Message[];
  /** What was reported as an uncaught error. */
  reported: unknown[];
}

/** A page whose host `start` may refuse to start. */
function page(start: () => void = () => {}): Page {
  const browser = new FakeBrowser();
  const world = new FakeWorld(browser.primary, browser.world);
  const [window, document] = [new EventTarget(), new EventTarget()];
  const [said, reported]: [Message[], unknown[]] = [[], []];
  const reportError = (error: unknown) => reported.push(error);
  Object.assign(globals, { window, document, reportError });
  Date.now = () => world.clock.now();
  const main = async (): Promise<Serve> => {
    start();
    return (port: Port) => {
      world.service.serve(port);
      const receive = port.onmessage;
      port.onmessage = (event) => {
        said.push(event.data);
        receive?.(event);
      };
    };
  };
  const config = { presignedUrlEndpoint: ENDPOINT, ...MEETING, autoUpload: false, format: 'text' as const };
  const client = new LogClient(config, { main }, 'main', () => 'good');
  return { world, client, window, document, said, reported };
}

async function flushed({ client, world }: Page): Promise<string[]> {
  const done = client.flush();
  await world.clock.advance(1_000);
  await done;
  return world.lines;
}

test('a listener that throws is reported, and no line is lost for it', async () => {
  const here = page();
  const problem = new Error('a bug of the application');
  const heard: string[] = [];
  here.client.on('status', () => {
    throw problem;
  });
  here.client.on('status', ({ host }) => heard.push(host));
  here.client.add('line 1', false);
  await here.world.clock.advance(100);
  here.client.add('line 2', false);
  assert.deepEqual(await flushed(here), ['line 1', 'line 2']);
  assert.deepEqual([here.reported, heard], [[problem], ['main']]);
});

test('a page without a host gets one when the network is back, and has kept its lines', async () => {
  let missing = true;
  const here = page(() => {
    if (missing) throw new Error('the chunk is missing');
  });
  const errors: LogferryError[] = [];
  here.client.on('error', (error) => errors.push(error));
  here.client.add('line 1', false);
  await here.world.clock.advance(100);
  await assert.rejects(here.client.flush(), /the chunk is missing/);
  missing = false;
  here.window.dispatchEvent(new Event('online'));
  await here.world.clock.advance(100);
  assert.deepEqual(await flushed(here), ['line 1']);
  assert.deepEqual(
    errors.map(({ code }) => code),
    ['NO_HOST'],
  );
});

test('a page without a host keeps the newest 5 MiB, and counts the others', async () => {
  let missing = true;
  const here = page(() => {
    if (missing) throw new Error('the chunk is missing');
  });
  const text = 'x'.repeat(100_000);
  for (let n = 1; n <= 100; n += 1) {
    here.client.add(`${n} ${text}`, false);
    await here.world.clock.advance(1);
  }
  missing = false;
  here.window.dispatchEvent(new Event('online'));
  await here.world.clock.advance(100);
  const lines = await flushed(here);
  const kept = lines.filter((line) => line.endsWith(text));
  assert.ok(kept.length >= 40 && kept.length <= 52, `${kept.length} lines`);
  assert.match(kept.at(-1) ?? '', /^100 /);
  assert.ok(
    lines.at(-1)?.includes(`dropped ${100 - kept.length} entries (exit)`),
    lines.at(-1)?.slice(0, 200),
  );
});

test('a page that is hidden after it was left says so no more', async () => {
  const here = page();
  here.client.add('line 1', false);
  await here.world.clock.advance(100);
  leave({ ...here, unheard: null, hear() {} });
  here.document.visibilityState = 'hidden';
  here.document.dispatchEvent(new Event('visibilitychange'));
  await here.world.clock.advance(0);
  const states = here.said.filter(({ command }) => command === 'PAGE').map(({ state }) => state);
  assert.deepEqual(states, ['leaving']);
});

test('a copy that cannot be read does not keep the others back', async () => {
  const browser = new FakeBrowser();
  const tab = await browser.open();
  browser.onForm = () => false;
  tab.client.add('line 1', false);
  leave(tab);
  tab.world.halt();
  const copies = Object.entries(localStorage);
  for (const [name] of copies) localStorage.removeItem(name);
  localStorage.setItem('logferry-exit:a', '{"at":');
  localStorage.setItem('logferry-exit:b', '7');
  for (const [name, copy] of copies) localStorage.setItem(name, copy);
  assert.equal(copies.length, 1);
  const next = await browser.open();
  await next.world.clock.advance(60_000);
  assert.deepEqual([browser.lines, Object.keys(localStorage)], [['line 1'], []]);
});
