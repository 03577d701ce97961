/** The server of the example pages, for tests that walk through them on the real stack. */

import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { BrowserContext } from '@playwright/test';

export interface Demo {
  /** Its address, with a slash at the end. */
  site: string;
  stop(): void;
}

/** Starts the server on a free port. Rejects with its output if it exits first. */
export async function startDemo(): Promise<Demo> {
  const script = fileURLToPath(new URL('../../../examples/server.mjs', import.meta.url));
  const server: ChildProcess = spawn(process.execPath, [script], {
    env: { ...process.env, WEB_DEMO_PORT: '0' },
  });
  const site = await new Promise<string>((resolve, reject) => {
    let said = '';
    for (const output of [server.stdout, server.stderr]) {
      output?.on('data', (text) => {
        said += text;
        const found = /http:\/\/localhost:\d+\//.exec(said);
        if (found) resolve(found[0]);
      });
    }
    server.on('exit', () => reject(new Error(said)));
  });
  return { site, stop: () => server.kill() };
}

/** Console errors and uncaught exceptions of all pages of a context; the list grows as they occur. */
export function problemsOf(context: BrowserContext): string[] {
  const problems: string[] = [];
  context.on('console', (message) => message.type() === 'error' && problems.push(message.text()));
  context.on('weberror', (error) => problems.push(error.error().message));
  return problems;
}
