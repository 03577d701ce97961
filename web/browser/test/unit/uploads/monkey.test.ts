import assert from 'node:assert/strict';
import test from 'node:test';
import type { UploadWorkerMessage } from '../../../src/uploads/protocol.ts';
import { generator } from '../../support/random.ts';
import { Browser, type Tab } from './browser.ts';
import { FakeFile, type Fault, MIB, turn } from './fakes.ts';

/** Seeds; a failing one is in the test's name. */
const RUNS = Number(process.env.LOGFERRY_WEB_SEEDS ?? 60);
const STEPS = 40;

const FAULTS: Fault[] = [
  'cut',
  'lost',
  { status: 500 },
  { status: 403 },
  { status: 429, retryAfterMs: 3_000 },
];
const STEPS_OF_S3 = ['part', 'batch', 'list', 'complete'] as const;

for (let seed = 1; seed <= RUNS; seed += 1) {
  test(`whatever is done in which order, no byte is lost and no upload is stuck (seed ${seed})`, async () => {
    const random = generator(seed);
    const choose = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)] as T;
    const browser = new Browser();
    browser.cloud.partMs = 200;
    browser.cloud.callMs = choose([0, 50, 500]);
    const files = new Map<string, FakeFile>();
    const cancelled = new Set<string>();
    let tabs: Tab[] = [await browser.tab({ maxActive: 2 })];
    const run = (tab: Tab, message: UploadWorkerMessage) => {
      // A refusal is an answer.
      const done = tab.engine.handle(message).catch(() => {});
      return Promise.race([done, turn()]);
    };

    for (let step = 0; step < STEPS; step += 1) {
      const tab = choose(tabs);
      const id = choose([...files.keys(), 'u0']);
      const action = random();
      if (action < 0.15 && files.size < 6) {
        const name = `u${files.size}`;
        files.set(name, new FakeFile(Math.ceil(random() * 60 * MIB), name));
        await tab.engine.handle({ type: 'START_UPLOAD', uploadId: name, file: files.get(name)!.file });
      } else if (action < 0.3) await run(tab, { type: 'PAUSE_UPLOAD', uploadId: id, finish: random() < 0.3 });
      else if (action < 0.45) await run(tab, { type: 'RESUME_UPLOAD', uploadId: id });
      else if (action < 0.5) {
        const file = files.get(id);
        if (file) await run(tab, { type: 'RESUME_WITH_FILE', uploadId: id, file: file.file });
      } else if (action < 0.53) {
        if (files.has(id)) cancelled.add(id);
        await run(tab, { type: 'CANCEL_UPLOAD', uploadId: id });
      } else if (action < 0.6)
        browser.cloud.fault(choose(STEPS_OF_S3), choose(FAULTS), Math.ceil(random() * 3));
      else if (action < 0.65) browser.cloud.online = false;
      else if (action < 0.72) browser.cloud.goOnline();
      else if (action < 0.78 && tabs.length < 3) tabs.push(await browser.tab({ maxActive: 2 }));
      else if (action < 0.84 && tabs.length > 1) {
        tab.die();
        tabs = tabs.filter((other) => other !== tab);
      } else if (action < 0.88)
        await run(tab, { type: 'SET_LIMIT', bytesPerSec: choose([null, MIB, 20 * MIB]) });
      else await browser.clock.pass(Math.ceil(random() * 1_500));
    }

    // The network is back, and a person resumes what did not resume by itself.
    browser.cloud.calm();
    const [tab] = tabs;
    assert.ok(tab);
    await run(tab, { type: 'SET_LIMIT', bytesPerSec: null });
    for (let round = 0; round < 60; round += 1) {
      await browser.clock.pass(2_000);
      for (const { uploadId, status } of tab.engine.sessions) {
        const file = files.get(uploadId)!.file;
        if (['paused', 'failed'].includes(status)) await run(tab, { type: 'RETRY_UPLOAD', uploadId });
        if (['needs-file', 'failed'].includes(status))
          await run(tab, { type: 'RESUME_WITH_FILE', uploadId, file });
      }
    }
    for (const { uploadId, status } of tab.engine.sessions) assert.equal(status, 'completed', uploadId);
    const completed = [...browser.cloud.sessions.values()].filter(({ status }) => status === 'COMPLETED');
    for (const { size, parts } of completed) {
      assert.equal(
        [...parts.values()].reduce((bytes, part) => bytes + part.size, 0),
        size,
      );
    }
    assert.ok(completed.length >= files.size - cancelled.size, 'an upload was lost');
    assert.ok(completed.length <= files.size, 'a file was completed twice');
    assert.deepEqual(await browser.store.all('https://api|'), []);
    assert.ok(browser.cloud.mostOfOne <= 3, `${browser.cloud.mostOfOne} parts of one upload at once`);
  });
}
