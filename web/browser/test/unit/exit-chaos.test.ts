/** Random runs of pages that close with a form under way: whatever arrives first, every line is there once. */

import assert from 'node:assert/strict';
import test from 'node:test';
import type { HttpAnswer, HttpRequest } from '../../src/host/http.ts';
import { comeBack, FakeBrowser, leave, MEETING, type Tab } from '../support/fake-browser.ts';
import { type FakeWorld, storeWithoutAnswer } from '../support/fake-service.ts';
import { generator } from '../support/random.ts';

const RUNS = Number(process.env.CHAOS_RUNS ?? 150);
const FIRST = Number(process.env.CHAOS_SEED ?? 1);

const answer = (status: number): HttpAnswer => ({ status, retryAfterMs: undefined, text: '{}' });

/** One request in four fails. A PUT may be stored all the same, at once or half a minute later. */
function faults(world: FakeWorld, chance: () => number) {
  return (request: HttpRequest): HttpAnswer | 'offline' | null => {
    if (chance() > 0.25) return null;
    if (request.method !== 'PUT') return chance() < 0.5 ? 'offline' : answer(500);
    if (chance() < 0.5) return storeWithoutAnswer(world, request, chance);
    return answer([500, 503, 403, 409][Math.floor(chance() * 4)] ?? 500);
  };
}

interface Outcome {
  wanted: string[];
  stored: string[];
  /** Keys that got a second content. */
  twice: string[];
  forms: number;
}

async function run(seed: number): Promise<Outcome> {
  const chance = generator(seed);
  const browser = new FakeBrowser();
  const { clock } = browser.world;
  // The worst that a stolen lock leads to.
  browser.locks = seed % 3 > 0;
  browser.onForm = (form) => {
    const fate = chance();
    if (fate < 0.1) return false;
    if (fate < 0.4) return true;
    if (fate < 0.7) return browser.arrive(form);
    clock.after(chance() * 20_000, () => browser.arrive(form));
    return true;
  };
  let good = false;
  const open = () =>
    browser.open((world) => {
      const bad = faults(world, chance);
      world.answer = (request) => (good ? null : bad(request));
      world.compressMs = () => (good || chance() < 0.7 ? 0 : chance() * 3_000);
      world.latencyMs = () => (good ? 0 : chance() ** 3 * 5_000);
    });
  const meetings = new Map<Tab, string>();
  const wanted: string[] = [];
  const log = (tab: Tab) => {
    for (let n = 1 + Math.floor(chance() * 4); n > 0; n -= 1) {
      const line = `line ${wanted.length + 1} ${meetings.get(tab) ?? MEETING.meetingId}`;
      wanted.push(line);
      // Some are longer than a form.
      tab.client.add(chance() < 0.02 ? `${line} ${'x'.repeat(56_000)}` : line, chance() < 0.05);
    }
  };
  let tabs = [await open()];
  const end = (tab: Tab) => {
    tab.world.halt();
    tabs = tabs.filter((other) => other !== tab);
  };
  for (let step = 0; step < 30; step += 1) {
    const tab = tabs[Math.floor(chance() * tabs.length)] as Tab;
    const kind = chance();
    if (kind < 0.45) log(tab);
    else if (kind < 0.6) {
      if (chance() < 0.7) log(tab);
      // Time for a form.
      if (chance() < 0.5) await clock.advance(3_000);
      if (chance() < 0.5) log(tab);
      leave(tab);
      if (chance() < 0.5) log(tab);
      // A host may live a little longer than its page.
      if (chance() < 0.5) await clock.advance(chance() * 300);
      end(tab);
    } else if (kind < 0.66) {
      if (chance() < 0.5) log(tab);
      await clock.advance(chance() * 500);
      // Into the back/forward cache, and out of it or not. Meanwhile another page may open.
      leave(tab, true);
      if (chance() < 0.5 && tabs.length < 3) tabs.push(await open());
      if (chance() < 0.5) await clock.advance(chance() * 30_000);
      if (chance() < 0.6) comeBack(tab);
      else end(tab);
    } else if (kind < 0.7) {
      // Killed: what is stored stays.
      await clock.advance(100);
      end(tab);
    } else if (kind < 0.74) {
      const meetingId = chance() < 0.5 ? 'm-1' : 'm-2';
      tab.client.setScope({ meetingId, attendeeId: 'a-1' });
      meetings.set(tab, meetingId);
    } else if (kind < 0.84 && tabs.length < 3) tabs.push(await open());
    else await clock.advance(chance() * 60_000);
    if (tabs.length === 0) tabs.push(await open());
    if (chance() < 0.7) await clock.advance(60);
  }
  good = true;
  await open();
  for (let n = 0; n < 12; n += 1) await clock.advance(100_000);
  const { objects, meetings: of } = browser.world;
  for (const [key, text] of objects) {
    for (const line of text.trim().split('\n')) assert.equal(line.split(' ')[2], of.get(key), `seed ${seed}`);
  }
  const stored = browser.lines.map((line) => line.replace(/ x+$/, ''));
  return { wanted, stored, twice: browser.twice, forms: browser.forms.length };
}

test(`12 ${RUNS} random runs of closing pages store every line once`, async (t) => {
  let forms = 0;
  for (let seed = FIRST; seed < FIRST + RUNS; seed += 1) {
    const result = await run(seed);
    forms += result.forms;
    const doubled = result.stored.filter((line, at) => result.stored[at + 1] === line);
    const lost = result.wanted.filter((line) => !result.stored.includes(line));
    assert.deepEqual(
      { doubled, lost, twice: result.twice },
      { doubled: [], lost: [], twice: [] },
      `seed ${seed}`,
    );
  }
  t.diagnostic(`${forms} forms`);
  assert.ok(RUNS < 100 || forms > RUNS / 4, `${forms} forms`);
});

test('12 the same seed is the same run', async () => {
  assert.deepEqual(await run(FIRST), await run(FIRST));
});
