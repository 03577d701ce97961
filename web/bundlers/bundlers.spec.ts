/** Behaviour 48: the packed package in the bundlers that people use, built and in development. */

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, createServer as createSocket } from 'node:net';
import { dirname, extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, type Page, test } from '@playwright/test';
import { FaultServer } from '../browser/test/support/fault-server.ts';
import { storedLines } from '../browser/test/support/log-routes.ts';

const HERE = dirname(fileURLToPath(import.meta.url));
const BIN = join(HERE, 'node_modules', '.bin');
const MIME: Record<string, string> = { '.html': 'text/html', '.js': 'text/javascript' };

let server: FaultServer;
const children: ChildProcess[] = [];
const servers: Server[] = [];

test.beforeEach(async () => {
  server = await FaultServer.start();
});

test.afterEach(async () => {
  for (const child of children.splice(0)) if (child.pid) process.kill(-child.pid, 'SIGKILL');
  for (const site of servers.splice(0)) site.close();
  await server.close();
});

/** Runs to its end; fails with what it printed. */
function build(folder: string, command: string, ...args: string[]): void {
  const cwd = join(HERE, folder);
  const { status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stdout}\n${stderr}`);
}

/** Starts a server on a free port, in a process group of its own, and waits until it answers. */
async function start(folder: string, command: string, args: (port: string) => string[]): Promise<string> {
  const port = String(await freePort());
  const child = spawn(command, args(port), { cwd: join(HERE, folder), detached: true, stdio: 'ignore' });
  children.push(child);
  const url = `http://localhost:${port}/`;
  await expect
    .poll(
      () =>
        fetch(url).then(
          ({ ok }) => ok,
          () => false,
        ),
      { timeout: 120_000, intervals: [250] },
    )
    .toBe(true);
  return url;
}

async function files(folder: string, index: string): Promise<string> {
  const site = createServer(async (request, response) => {
    const path = new URL(request.url ?? '/', 'http://localhost').pathname;
    try {
      const body = path === '/' ? index : await readFile(join(HERE, folder, path));
      response.writeHead(200, { 'content-type': MIME[extname(path)] ?? 'text/html' });
      response.end(body);
    } catch {
      response.writeHead(404);
      response.end();
    }
  });
  servers.push(site);
  await new Promise<void>((done) => {
    site.listen(0, 'localhost', done);
  });
  return `http://localhost:${(site.address() as AddressInfo).port}/`;
}

/** A log and an upload arrive, on the host that was asked for. */
async function works(page: Page, url: string, hosts: string[]): Promise<void> {
  for (const host of hosts) {
    const lines = storedLines(server).length;
    const uploads = server.count('complete');
    await page.goto(`${url}?api=${encodeURIComponent(server.api)}&host=${host}`);
    await expect.poll(() => page.title(), { timeout: 60_000 }).toMatch(/^(logged|failed): /);
    expect(await page.title()).toBe(`logged: ${host}, uploaded: ${host}`);
    expect(storedLines(server)).toHaveLength(lines + 1);
    expect(server.count('complete')).toBe(uploads + 1);
  }
}

const page = (script: string) =>
  `<!doctype html><link rel="icon" href="data:,"><script type="module" src="${script}"></script>`;

test('48 Vite, built', async ({ page }) => {
  build('vite', join(BIN, 'vite'), 'build', '--logLevel', 'error');
  await works(
    page,
    await start('vite', join(BIN, 'vite'), (port) => ['preview', '--port', port, '--strictPort']),
    ALL,
  );
});

test('48 Vite in development', async ({ page }) => {
  await works(page, await start('vite', join(BIN, 'vite'), (port) => ['--port', port, '--strictPort']), ALL);
});

test('48 webpack', async ({ page: tab }) => {
  build('webpack', join(BIN, 'webpack'));
  await works(tab, await files('webpack/dist', page('/main.js')), ALL);
});

test('48 esbuild with inline workers', async ({ page: tab }) => {
  const esbuild = join(HERE, '..', 'node_modules', '.bin', 'esbuild');
  build(
    'esbuild',
    esbuild,
    'main.js',
    '--bundle',
    '--format=esm',
    '--splitting',
    '--outdir=dist',
    '--log-level=error',
  );
  await works(tab, await files('esbuild/dist', page('/main.js')), ['dedicated']);
});

test('48 Next, built', async ({ page }) => {
  build('next', join(BIN, 'next'), 'build');
  await works(page, await start('next', join(BIN, 'next'), (port) => ['start', '--port', port]), ALL);
});

test('48 Next in development, in strict mode', async ({ page }) => {
  await works(page, await start('next', join(BIN, 'next'), (port) => ['dev', '--port', port]), ALL);
});

const ALL = ['shared', 'dedicated', 'main'];

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const socket = createSocket();
    socket.listen(0, 'localhost', () => {
      const { port } = socket.address() as AddressInfo;
      socket.close(() => resolve(port));
    });
  });
}
