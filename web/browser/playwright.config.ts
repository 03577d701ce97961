import { defineConfig } from '@playwright/test';

const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';

export default defineConfig({
  testDir: 'test/browser',
  fullyParallel: true,
  workers: 2,
  timeout: 60_000,
  reporter: [['list']],
  outputDir: 'test-results',
  use: { launchOptions: { executablePath, args: ['--no-sandbox'] } },
});
