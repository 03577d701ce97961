/** `test` with an app on the running stack, and a page whose errors and CSP violations fail the test. */

import AxeBuilder from '@axe-core/playwright';
import { test as base, expect, type Page } from '@playwright/test';
import { App, NO_STACK, type Stack, stack } from '../../../browser/test/support/stack.ts';

export { expect } from '@playwright/test';

export interface Fixtures {
  stack: Stack;
  app: App;
  /** The console's URL. */
  url: string;
}

export const test = base.extend<Fixtures>({
  // biome-ignore lint/correctness/noEmptyPattern: Playwright reads the names of what a fixture needs.
  stack: async ({}, use) => {
    const found = stack();
    test.skip(!found, NO_STACK);
    if (found) await use(found);
  },
  app: async ({ stack: running }, use) => use(await App.create(running)),
  url: async ({ stack: running }, use) => use(`${running.api}/console/`),
  page: async ({ page }, use) => {
    const problems = watch(page);
    await use(page);
    expect(problems, 'errors in the page').toEqual([]);
  },
});

/** Collects exceptions, errors on the console and violations of the policy. */
export function watch(page: Page): string[] {
  const problems: string[] = [];
  page.on('pageerror', (error) => problems.push(error.message));
  page.on('console', (message) => {
    const text = message.text();
    // A refused request is an answer that the page shows.
    if (message.type() === 'error' && !text.startsWith('Failed to load resource')) problems.push(text);
  });
  return problems;
}

/** Logs in where the page is; with `onSharedComputer`, the credential is kept in memory alone. */
export async function logIn(page: Page, secret: string, { onSharedComputer = false } = {}): Promise<void> {
  await page.getByLabel('API key, admin key or view token').fill(secret);
  if (onSharedComputer) await page.getByLabel('This is a shared computer').check();
  await page.getByRole('button', { name: 'Log in' }).click();
  await expect(page.getByRole('navigation', { name: 'Pages' })).toBeVisible();
}

export async function open(page: Page, url: string, hash: string, secret: string): Promise<void> {
  await page.goto(`${url}${hash}`);
  await logIn(page, secret);
}

/** The rows of the list of records. */
export const rows = (page: Page) => page.locator('.row');

/** What axe finds in the page, if it is serious. */
export async function serious(page: Page): Promise<string[]> {
  const { violations } = await new AxeBuilder({ page }).analyze();
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(
      ({ id, nodes }) =>
        `${id}: ${nodes
          .map((node) => node.html)
          .join(' | ')
          .slice(0, 300)}`,
    );
}
