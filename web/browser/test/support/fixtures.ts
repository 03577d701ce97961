/** `test` with a fault server of its own, and a page of the lab. */

import { test as base, type Page } from '@playwright/test';
import { FaultServer } from './fault-server.ts';

export interface Fixtures {
  server: FaultServer;
  /** The lab page, open, with the package loaded. */
  lab: Page;
}

export const test = base.extend<Fixtures>({
  // biome-ignore lint/correctness/noEmptyPattern: Playwright reads the names of what a fixture needs.
  server: async ({}, use) => {
    const server = await FaultServer.start();
    await use(server);
    await server.close();
  },
  lab: async ({ page, server }, use) => {
    const problems = watch(page);
    await openLab(page, server);
    await use(page);
    if (problems.length) throw new Error(`errors in the page: ${problems.join('; ')}`);
  },
});

export { expect } from '@playwright/test';

/** Opens the lab; `query` such as `?csp=…`. */
export async function openLab(page: Page, server: FaultServer, query = ''): Promise<void> {
  await page.goto(`${server.site}/lab.html${query}`);
  // Not `waitForFunction`, whose text a content security policy refuses.
  for (;;) {
    if (await page.evaluate(() => 'logs' in window)) return;
    await page.waitForTimeout(20);
  }
}

/** Collects exceptions that reach the page. */
export function watch(page: Page): string[] {
  const problems: string[] = [];
  page.on('pageerror', (error) => problems.push(error.message));
  return problems;
}

/** The two hosts that most behaviours are checked on. */
export const HOSTS = ['shared', 'dedicated'] as const;
