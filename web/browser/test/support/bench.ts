/** `make web-bench`: what logging costs the page, in Chromium on this machine. Figures only; the tests hold the promises. */

import { chromium, type Page } from '@playwright/test';
import { launchOptions } from '../../../playwright.ts';
import { FaultServer } from './fault-server.ts';
import { openLab } from './fixtures.ts';
import { startLogger, stats } from './logs.ts';

/** Calls of a round, as acceptance number 24 has it. */
const CALLS = 100_000;
/** Rounds of which the median counts; the first warms up and does not. */
const ROUNDS = 7;

const KINDS = {
  'info with a context': 'info-context',
  'info without a context': 'info',
  'info, disabled by the level': 'disabled',
} as const;
type Kind = (typeof KINDS)[keyof typeof KINDS];

/** Microseconds per call in one task of the page. */
const round = (page: Page, kind: Kind): Promise<number> =>
  page.evaluate(
    ([kind, calls]) => {
      window.log.setLevel(kind === 'disabled' ? 'WARN' : 'INFO');
      const begin = performance.now();
      if (kind === 'info-context') {
        for (let n = 0; n < calls; n += 1) window.log.info(`line ${n} of an ordinary length`, { n });
      } else {
        for (let n = 0; n < calls; n += 1) window.log.info(`line ${n} of an ordinary length`);
      }
      return ((performance.now() - begin) / calls) * 1_000;
    },
    [kind, CALLS] as const,
  );

const median = (values: number[]): number => values.sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;

const server = await FaultServer.start();
const browser = await chromium.launch(launchOptions);
try {
  for (const host of ['shared', 'dedicated'] as const) {
    for (const [name, kind] of Object.entries(KINDS)) {
      const context = await browser.newContext();
      const page = await context.newPage();
      await openLab(page, server);
      await startLogger(page, server, { host, maxEntries: CALLS });
      const costs: number[] = [];
      for (let n = 0; n <= ROUNDS; n += 1) {
        const cost = await round(page, kind);
        if (n > 0) costs.push(cost);
        // The worker has stored the round before the next begins.
        await stats(page);
      }
      const spread = `${Math.min(...costs).toFixed(1)} to ${Math.max(...costs).toFixed(1)}`;
      console.log(`${host}, ${name}: ${median(costs).toFixed(2)} us a call (${spread})`);
      await context.close();
    }
  }
} finally {
  await browser.close();
  await server.close();
}
