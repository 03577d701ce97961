/** The examples of Vite and Next on the running stack: a line and a file of a person arrive. */

import { type ChildProcess, spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from '@playwright/test';
import { type Demo, problemsOf, startDemo } from '../browser/test/support/demo.ts';
import { NO_STACK, stack } from '../browser/test/support/stack.ts';

const EXAMPLES = join(dirname(fileURLToPath(import.meta.url)), '..', 'examples');

test.skip(stack() === null, NO_STACK);

let demo: Demo;
let example: ChildProcess | undefined;

test.beforeAll(async () => {
  demo = await startDemo();
});

test.afterAll(() => demo.stop());

test.afterEach(() => {
  if (example?.pid) process.kill(-example.pid, 'SIGKILL');
  example = undefined;
});

/** Starts an example in a process group of its own, which asks the demo's server for tokens. */
async function start(name: string, ...command: string[]): Promise<string> {
  const port = await freePort();
  const [program = '', ...args] = [...command, '--port', String(port)];
  const cwd = join(EXAMPLES, name);
  const env = { ...process.env, DEMO_SERVER: demo.site.replace(/\/$/, '') };
  example = spawn(join(cwd, 'node_modules', '.bin', program), args, { cwd, env, detached: true });
  const url = `http://localhost:${port}/`;
  const answers = () =>
    fetch(url).then(
      ({ ok }) => ok,
      () => false,
    );
  await expect.poll(answers, { timeout: 120_000, intervals: [250] }).toBe(true);
  return url;
}

for (const [name, command] of [
  ['vite', ['vite', '--strictPort']],
  ['next', ['next', 'dev']],
] as const) {
  test(`the example of ${name} logs a line and uploads a file`, async ({ page, context }) => {
    const problems = problemsOf(context);
    await page.goto(await start(name, ...command));
    await page.getByLabel('Message').fill(`a line of ${name}`);
    await page.getByRole('button', { name: 'Log and upload' }).click();
    await expect(page.getByText('1 lines uploaded')).toBeVisible({ timeout: 60_000 });
    const film = { name: `${name}.bin`, mimeType: 'application/octet-stream', buffer: Buffer.alloc(6 << 20) };
    await page.getByLabel('File').setInputFiles(film);
    await expect(page.getByText(/the file is uploaded|: completed, 100 %/)).toBeVisible({ timeout: 60_000 });
    const arrived = async (what: string) => (await fetch(`${demo.site}arrived/${what}`)).text();
    await expect.poll(() => arrived('logs'), { timeout: 60_000 }).toContain(`a line of ${name}`);
    expect(await arrived('uploads')).toContain(`${name}.bin`);
    expect(problems).toEqual([]);
  });
}

function freePort(): Promise<number> {
  return new Promise((done) => {
    const socket = createServer().listen(0, 'localhost', () => {
      const { port } = socket.address() as { port: number };
      socket.close(() => done(port));
    });
  });
}
