/** What becomes of a closing page's last lines, step by step. */

import assert from 'node:assert/strict';
import test from 'node:test';
import { close, comeBack, FakeBrowser, leave, type Tab } from '../support/fake-browser.ts';
import { FakePage, FakeWorld } from '../support/fake-service.ts';

const MINUTE = 60_000;
/** A form's life, and the time in which it may still arrive (ms). */
const FORM_MS = 6 * MINUTE;

/** A page with a stored line and a form for it. */
async function opened(browser: FakeBrowser, line: string): Promise<Tab> {
  const tab = await browser.open();
  tab.client.add(line, false);
  await tab.world.clock.advance(100);
  return tab;
}

test('10 the lines of a page that leaves are in S3 within 5 s where each request takes 1 s', async () => {
  const world = new FakeWorld();
  world.latencyMs = () => 1_000;
  const page = await FakePage.open(world, { autoUpload: true, flushIntervalMs: 120_000 });
  await world.clock.advance(2_000);
  page.log('line 1', 'line 2');
  page.send({ command: 'PAGE', state: 'leaving' });
  await world.clock.advance(5_000);
  assert.deepEqual(world.lines, ['line 1', 'line 2']);
});

test('12 a form holds the stored lines and those of the last moment, and the next visit sends nothing twice', async () => {
  const browser = new FakeBrowser();
  const tab = await opened(browser, 'line 1');
  tab.client.add('line 2', false);
  close(tab);
  assert.deepEqual(
    browser.forms.map(({ text }) => text),
    ['line 1\nline 2\n'],
  );
  const next = await browser.open();
  await next.world.clock.advance(100);
  assert.equal((await next.client.stats()).entries, 0);
  await next.world.clock.advance(2 * FORM_MS);
  assert.deepEqual([browser.lines, browser.twice], [['line 1', 'line 2'], []]);
  assert.deepEqual([next.world.count('POST'), next.world.count('PUT')], [0, 0]);
});

test('12 the lines of a form that is lost are sent once it cannot arrive any more', async () => {
  const browser = new FakeBrowser();
  browser.onForm = () => true;
  close(await opened(browser, 'line 1'));
  const next = await browser.open();
  await next.world.clock.advance(FORM_MS - MINUTE);
  assert.deepEqual(browser.lines, []);
  await next.world.clock.advance(2 * MINUTE);
  assert.deepEqual(browser.lines, ['line 1']);
});

test('12 a form that arrives after the next visit has asked for it is the only copy', async () => {
  const browser = new FakeBrowser();
  browser.onForm = (form) => {
    browser.world.clock.after(4 * MINUTE, () => browser.arrive(form));
    return true;
  };
  const tab = await opened(browser, 'line 1');
  tab.client.add('line 2', false);
  close(tab);
  const next = await browser.open();
  await next.world.clock.advance(2 * FORM_MS);
  assert.deepEqual([browser.lines, browser.twice], [['line 1', 'line 2'], []]);
});

test('12 lines that are logged after the form was sent go at the next visit', async () => {
  const browser = new FakeBrowser();
  const tab = await opened(browser, 'line 1');
  leave(tab);
  tab.client.add('line 2', false);
  // The host still stores the line, or it does not.
  await tab.world.clock.advance(100);
  tab.client.add('line 3', false);
  tab.world.halt();
  assert.deepEqual(browser.lines, ['line 1']);
  const next = await browser.open();
  await next.world.clock.advance(30_000);
  assert.deepEqual([browser.lines, browser.twice], [['line 1', 'line 2', 'line 3'], []]);
});

test('12 a regular run takes the form back and uses its key', async () => {
  const browser = new FakeBrowser();
  const tab = await opened(browser, 'line 1');
  for (let n = 2; n < 6; n += 1) {
    await tab.world.clock.advance(MINUTE);
    tab.client.add(`line ${n}`, false);
    await tab.world.clock.advance(100);
  }
  await tab.world.clock.advance(MINUTE);
  const { world } = tab;
  assert.deepEqual([browser.lines.length, world.count('PUT'), world.count('POST')], [5, 5, 5]);
  close(tab);
  assert.deepEqual(browser.forms, []);
});

test('12 another tab leaves the lines of a form alone, and a flush of its own does not wait for them', async () => {
  const browser = new FakeBrowser();
  browser.flushIntervalMs = 240_000;
  const tab = await opened(browser, 'line 1');
  const other = await browser.open();
  other.client.add('line 2', false);
  const flushed = other.client.flush();
  await other.world.clock.advance(100);
  assert.equal((await flushed).uploaded, 1);
  assert.deepEqual(browser.lines, ['line 2']);
  close(tab);
  assert.deepEqual([browser.lines, browser.twice], [['line 1', 'line 2'], []]);
});

test('12 a page that enters the back/forward cache gives its form up: the next page sends the lines at once', async () => {
  const browser = new FakeBrowser();
  const tab = await opened(browser, 'line 1');
  leave(tab, true);
  // The cache stops the host before it hears of it.
  tab.world.halt();
  const next = await browser.open();
  await next.world.clock.advance(100);
  assert.deepEqual([browser.lines, browser.forms], [['line 1'], []]);
});

test('12 a page that returns from the back/forward cache gets another form', async () => {
  const browser = new FakeBrowser();
  const tab = await opened(browser, 'line 1');
  leave(tab, true);
  await tab.world.clock.advance(1_000);
  assert.deepEqual(browser.lines, ['line 1']);
  comeBack(tab);
  tab.client.add('line 2', false);
  await tab.world.clock.advance(100);
  close(tab);
  assert.deepEqual([browser.lines, browser.twice, browser.forms.length], [['line 1', 'line 2'], [], 1]);
});

test('12 the lines of a page that was killed wait for the end of its form', async () => {
  const browser = new FakeBrowser();
  const tab = await opened(browser, 'line 1');
  tab.world.halt();
  const next = await browser.open();
  await next.world.clock.advance(FORM_MS - MINUTE);
  assert.deepEqual(browser.lines, []);
  await next.world.clock.advance(2 * MINUTE);
  assert.deepEqual(browser.lines, ['line 1']);
});

test('12 more lines than a form takes go at the next visit, which does not wait', async () => {
  const browser = new FakeBrowser();
  const tab = await opened(browser, 'line 1');
  tab.client.add(`line 2 ${'x'.repeat(60_000)}`, false);
  close(tab);
  assert.deepEqual(browser.forms, []);
  const next = await browser.open();
  await next.world.clock.advance(100);
  assert.equal(browser.lines.length, 2);
});

test('12 a form that the browser does not take leaves its lines to the next visit', async () => {
  const browser = new FakeBrowser();
  browser.onForm = () => false;
  close(await opened(browser, 'line 1'));
  const next = await browser.open();
  await next.world.clock.advance(100);
  assert.deepEqual(browser.lines, ['line 1']);
});

test('12 a copy of lines that another tab has found to have arrived is not sent again', async () => {
  const browser = new FakeBrowser();
  const tab = await opened(browser, 'line 1');
  const other = await browser.open();
  tab.client.add('line 2', false);
  // The host ends before it has stored the line: the page's copy is all there is.
  close(tab);
  other.client.add('line 3', false);
  const flushed = other.client.flush();
  await other.world.clock.advance(1_000);
  await flushed;
  const next = await browser.open();
  await next.world.clock.advance(2 * FORM_MS);
  assert.deepEqual([browser.lines, browser.twice], [['line 1', 'line 2', 'line 3'], []]);
});

test('12 a form that a page hears of only when it returns from the back/forward cache is void', async () => {
  const browser = new FakeBrowser();
  const tab = await browser.open();
  // The form is on its way when the page enters the cache.
  tab.unheard = [];
  tab.client.add('line 1', false);
  await tab.world.clock.advance(100);
  leave(tab, true);
  const next = await browser.open();
  await next.world.clock.advance(1_000);
  assert.deepEqual(browser.lines, ['line 1']);
  comeBack(tab);
  await tab.world.clock.advance(0);
  close(tab);
  await next.world.clock.advance(2 * FORM_MS);
  assert.deepEqual([browser.lines, browser.twice, browser.forms], [['line 1'], [], []]);
});

test('12 a run whose lock was stolen does not seal lines that were held meanwhile', async () => {
  const browser = new FakeBrowser();
  browser.locks = false;
  const tab = await browser.open();
  const other = await browser.open();
  other.world.compressMs = () => 1_000;
  tab.world.latencyMs = () => 300;
  tab.client.add('line 1', false);
  await tab.world.clock.advance(60);
  // It reads the line, and compresses it until after the form is given.
  const flushed = other.client.flush();
  await tab.world.clock.advance(500);
  tab.client.add('line 2', false);
  close(tab);
  await other.world.clock.advance(1_000);
  await flushed;
  await other.world.clock.advance(2 * FORM_MS);
  assert.deepEqual([browser.lines, browser.twice, browser.forms.length], [['line 1', 'line 2'], [], 1]);
});

test('12 a group that spans two rows is in a form as a whole or not at all', async () => {
  const browser = new FakeBrowser();
  const tab = await browser.open();
  // A row has 25 lines of the 500 that are kept.
  for (let n = 1; n <= 60; n += 1) tab.client.add(`line ${n}`, false);
  await tab.world.clock.advance(100);
  close(tab);
  const next = await browser.open();
  await next.world.clock.advance(2 * FORM_MS);
  assert.deepEqual(
    browser.lines,
    Array.from({ length: 60 }, (_, n) => `line ${n + 1}`),
  );
  assert.equal(browser.forms.length, 1);
});
