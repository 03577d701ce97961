import assert from 'node:assert/strict';
import test from 'node:test';
import type { Message, Port } from '../../../src/host/port.ts';
import { Pages } from '../../../src/uploads/pages.ts';
import { FakeClock, turn } from './fakes.ts';

/** A page that answers after `tokenMs`, or never. */
function page(clock: FakeClock, pages: Pages, tokenMs = Number.POSITIVE_INFINITY) {
  const got: Message[] = [];
  const port: Port = {
    onmessage: null,
    postMessage(message) {
      got.push(message);
      if (message.command !== 'TOKEN_NEEDED' || tokenMs === Number.POSITIVE_INFINITY) return;
      clock.after(tokenMs, () => pages.answer(message.call, `after ${tokenMs}`));
    },
  };
  return { port, asked: () => got.filter(({ command }) => command === 'TOKEN_NEEDED').length, got };
}

test('a token that comes late counts, and its page gets every message', async () => {
  const clock = new FakeClock();
  const pages = new Pages(clock);
  const slow = page(clock, pages, 25_000);
  pages.add(slow.port);
  assert.equal(await clock.until(pages.token('start')), 'after 25000');
  pages.tell({ type: 'PROGRESS', uploadId: 'a', progress: 50 });
  assert.equal(slow.got.at(-1)?.command, 'PROGRESS');
});

test('a page that gives no token is followed by the next one, and asked again', async () => {
  const clock = new FakeClock();
  const pages = new Pages(clock);
  const [dumb, good] = [page(clock, pages), page(clock, pages, 10)];
  pages.add(good.port);
  pages.add(dumb.port);
  assert.equal(await clock.until(pages.token('start')), 'after 10');
  assert.deepEqual([dumb.asked(), good.asked()], [1, 1]);
  // The one that answered is asked first now.
  assert.equal(await clock.until(pages.token('expired')), 'after 10');
  assert.deepEqual([dumb.asked(), good.asked()], [1, 2]);
  pages.remove(good.port);
  void pages.token('start');
  await clock.pass(600_000);
  assert.ok(dumb.asked() > 5 && dumb.asked() < 20, `${dumb.asked()} questions in ten minutes`);
});

test('a question waits for a page, and a new page is asked at once', async () => {
  const clock = new FakeClock();
  const pages = new Pages(clock);
  const token = pages.token('start');
  await turn();
  pages.add(page(clock, pages).port);
  const begun = clock.now();
  pages.add(page(clock, pages, 10).port);
  assert.equal(await clock.until(token), 'after 10');
  assert.equal(clock.now() - begun, 10);
});
