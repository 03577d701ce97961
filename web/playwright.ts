/** What the tests of all packages in Chromium have in common. */

import { defineConfig } from '@playwright/test';

export const launchOptions = {
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox'],
};

export default defineConfig({
  fullyParallel: true,
  workers: 2,
  // Generous: a loaded machine is slow, and no test's outcome depends on how long a step took.
  timeout: 180_000,
  expect: { timeout: 60_000 },
  // A test that passes only the second time is named "flaky" in the closing lines.
  retries: 1,
  reporter: [['list']],
  use: { launchOptions },
});
