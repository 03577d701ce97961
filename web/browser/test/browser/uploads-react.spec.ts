// The hook and the demo component, under StrictMode and with the example of the first README.
import { fileURLToPath } from 'node:url';
import type { Page } from '@playwright/test';
import { build } from 'esbuild';
import type { FaultServer } from '../support/fault-server.ts';
import { expect, test, watch } from '../support/fixtures.ts';
import { diskFile, eventually, MIB, only } from '../support/upload-lab.ts';
import { sha256Of } from '../support/upload-routes.ts';

let script = '';

test.beforeAll(async () => {
  const entry = fileURLToPath(new URL('../support/react-lab.tsx', import.meta.url));
  const built = await build({
    entryPoints: [entry],
    bundle: true,
    format: 'esm',
    jsx: 'automatic',
    write: false,
    define: { 'process.env.NODE_ENV': '"development"' },
    logLevel: 'error',
  });
  script = built.outputFiles[0]?.text ?? '';
});

async function open(page: Page, server: FaultServer, query = ''): Promise<void> {
  const html =
    '<!doctype html><title>lab</title><link rel="icon" href="data:,"><script type="module" src="/r.js"></script>';
  server.site_.set('/react.html', { status: 200, headers: { 'content-type': 'text/html' }, body: html });
  server.site_.set('/r.js', { status: 200, headers: { 'content-type': 'text/javascript' }, body: script });
  await page.goto(`${server.site}/react.html?api=${encodeURIComponent(server.api)}${query}`);
}

test('the example of the README uploads, pauses, resumes and shows progress', async ({ page, server }) => {
  const problems = watch(page);
  await open(page, server);
  server.fault('part', { delayMs: 300 }, 1_000);
  const file = diskFile(60 * MIB);
  await page.setInputFiles('#mine input', file.path);
  const upload = page.locator('#mine .upload');
  await expect(upload).toHaveAttribute('data-status', 'uploading');
  await upload.getByText('Pause').click();
  await expect(upload).toHaveAttribute('data-status', 'paused');
  server.clearFaults();
  await upload.getByText('Resume').click();
  await expect(upload).toHaveAttribute('data-status', 'completed');
  await expect(upload.locator('p')).toHaveText('video.mp4 - 100%');
  expect(sha256Of(only(server))).toBe(file.sha256);
  expect(only(server).metadata).toEqual({ projectId: 'project-123', s3Key: 'videos/video.mp4' });
  expect(await page.locator('#mine').getAttribute('data-started')).toMatch(/^[0-9a-f-]{32,36}$/);
  expect(problems).toEqual([]);
});

test('StrictMode and two components make one worker', async ({ page, server }) => {
  await open(page, server, '&host=dedicated');
  await expect(page.locator('.logferry-uploads')).toHaveAttribute('data-host', 'dedicated');
  expect(page.workers()).toHaveLength(1);
});

test('the demo shows a refusal, a limit and a cancel', async ({ page, server }) => {
  await open(page, server);
  const demo = page.locator('.logferry-uploads');
  await expect(demo).toHaveAttribute('data-host', 'shared');
  await demo.getByLabel('Files to upload').setInputFiles(diskFile(0).path);
  await expect(demo.getByRole('alert').first()).toContainText('is empty');
  await demo.getByLabel('Limit').selectOption('0.5 MiB/s');
  await demo.getByLabel('Files to upload').setInputFiles(diskFile(20 * MIB).path);
  await expect(demo.locator('li')).toHaveAttribute('data-status', 'uploading');
  await eventually(() => server.count('part') === 1);
  await demo.getByText('Cancel').click();
  await expect(demo.locator('li')).toHaveCount(0);
  await eventually(() => only(server).status === 'ABORTED');
});
