import { defineConfig } from '@playwright/test';

const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';

export default defineConfig({
  testDir: 'test/browser',
  fullyParallel: true,
  workers: 2,
  // Generous: a loaded machine is slow, and no test's outcome depends on how long a step took.
  timeout: 180_000,
  expect: { timeout: 60_000 },
  retries: 1,
  reporter: [['list']],
  outputDir: 'test-results',
  use: { launchOptions: { executablePath, args: ['--no-sandbox'] } },
});
