/** Random runs of faults, restarts and two tabs: whatever happens, every line arrives once. */

import assert from 'node:assert/strict';
import test from 'node:test';
import type { HttpAnswer, HttpRequest } from '../../src/host/http.ts';
import { FakePage, FakePrimary, FakeWorld, storeWithoutAnswer } from '../support/fake-service.ts';
import { generator } from '../support/random.ts';

const RUNS = Number(process.env.CHAOS_RUNS ?? 300);

const status = (code: number, retryAfterMs?: number): HttpAnswer => ({
  status: code,
  retryAfterMs,
  text: '{}',
});

/** One time in three a request meets a fault; a PUT may be stored all the same. */
function faults(
  world: FakeWorld,
  chance: () => number,
): (request: HttpRequest) => HttpAnswer | 'offline' | null {
  return (request) => {
    if (chance() > 0.33) return null;
    if (request.method === 'PUT' && chance() < 0.4) return storeWithoutAnswer(world, request, chance);
    const kinds = ['offline', status(500), status(503, 2_000), status(429, 3_000), status(401)] as const;
    const s3 = ['offline', status(500), status(503), status(403), status(409)] as const;
    return (request.method === 'PUT' ? s3 : kinds)[Math.floor(chance() * 5)] ?? null;
  };
}

interface Tab {
  page: FakePage;
  world: FakeWorld;
}

async function run(seed: number): Promise<void> {
  const chance = generator(seed);
  const primary = new FakePrimary();
  const config = { autoUpload: true, flushIntervalMs: 5_000 };
  /** A tab with a host of its own, and no lock between the hosts: the worst that a stolen lock leads to. */
  const open = async (name: string, earlier?: FakeWorld): Promise<Tab> => {
    const world = new FakeWorld(primary, earlier);
    // Each third browser has a wrong clock, so that files are sealed again.
    world.fastMs = seed % 3 ? 0 : 7_200_000;
    world.answer = faults(world, chance);
    world.latencyMs = () => (chance() < 0.2 ? chance() * 50_000 : chance() * 300);
    return { world, page: await FakePage.open(world, { ...config, tab: `${seed}-${name}` }) };
  };
  let tabs = [await open('first')];
  let groups = 0;
  let lines = 0;
  for (let step = 0; step < 25; step += 1) {
    const kind = chance();
    const [first] = tabs;
    const { world, page } = tabs[Math.floor(chance() * tabs.length)] ?? (first as Tab);
    if (kind < 0.5) {
      groups += 1;
      const entries = Array.from({ length: 1 + Math.floor(chance() * 5) }, () => {
        lines += 1;
        return `line ${lines}`;
      });
      // Every tab may post the same group, as after an exit; one certainly does.
      for (const tab of tabs) {
        if (tab.page !== page && chance() < 0.7) continue;
        tab.page.send({ command: 'PUT_LOGS', tab: `${seed}-log`, group: groups, entries });
        await tab.page.committed();
      }
    } else if (kind < 0.6) {
      page.send({ command: 'UPLOAD_LOGS', request: step, timeoutMs: 1_000 });
    } else if (kind < 0.7) {
      page.send({ command: 'NETWORK', online: true });
    } else if (kind < 0.8) {
      // All hosts die: what they knew is gone, what they stored is not.
      for (const tab of tabs) tab.world.halt();
      tabs = [await open(`${step}`, world)];
    } else if (kind < 0.88 && tabs.length < 3) {
      tabs.push(await open(`${step}`, world));
    } else {
      await world.clock.advance(chance() * 400_000);
    }
  }
  for (const { world } of tabs) {
    world.answer = () => null;
    world.latencyMs = () => 0;
  }
  const [{ world, page }] = tabs as [Tab];
  const arrived = () => world.lines.filter((line) => line.startsWith('line '));
  for (let n = 0; n < 20 && arrived().length < lines; n += 1) {
    page.send({ command: 'TOKEN', joinToken: `new-${n}` });
    page.send({ command: 'NETWORK', online: true });
    await page.committed();
    await world.clock.advance(61_000);
  }
  // Time for what is still on its way.
  await world.clock.advance(600_000);
  const wanted = Array.from({ length: lines }, (_, n) => `line ${n + 1}`);
  const stored = arrived().sort((a, b) => Number(a.slice(5)) - Number(b.slice(5)));
  assert.deepEqual(stored, wanted, `seed ${seed}`);
}

test(`${RUNS} random runs of faults, restarts and two tabs store every line once`, async () => {
  const first = Number(process.env.CHAOS_SEED ?? 1);
  for (let seed = first; seed < first + RUNS; seed += 1) await run(seed);
});
