/** A browser with a profile of its own that survives being killed. */

import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BrowserContext, chromium, type Page } from '@playwright/test';
import { launchOptions } from '../../../playwright.ts';

export class Profile {
  readonly folder = mkdtempSync(join(tmpdir(), 'logferry-profile-'));

  launch(options: { args?: string[]; ignoreDefaultArgs?: string[] } = {}): Promise<BrowserContext> {
    return chromium.launchPersistentContext(this.folder, {
      ...launchOptions,
      args: [...launchOptions.args, ...(options.args ?? [])],
      ignoreDefaultArgs: options.ignoreDefaultArgs ?? [],
    });
  }

  /** SIGKILL for the whole browser. */
  killBrowser(): void {
    killAll(this.#processes());
  }

  /** SIGKILL for every renderer: pages and workers. */
  killRenderers(): void {
    killAll(this.#processes().filter(({ command }) => command.includes('--type=renderer')));
  }

  /** Resident memory of all its processes, shared pages counted once (bytes). */
  memoryBytes(): number {
    return this.#processes().reduce((bytes, { pid }) => bytes + proportional(pid), 0);
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  }

  /** The browser of this profile and what descends from it. */
  #processes(): { pid: number; command: string }[] {
    const all = readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .flatMap((name) => {
        try {
          const command = readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' ');
          const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
          const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
          return [{ pid: Number(name), parent, command }];
        } catch {
          return []; // ended meanwhile
        }
      });
    const own = new Set(all.filter(({ command }) => command.includes(this.folder)).map(({ pid }) => pid));
    for (let before = -1; before !== own.size; ) {
      before = own.size;
      for (const { pid, parent } of all) if (own.has(parent)) own.add(pid);
    }
    return all.filter(({ pid }) => own.has(pid));
  }
}

/** Kills with the page's crash or the browser's end awaited, which Playwright does not always report. */
export async function killed(target: Page | BrowserContext, kill: () => void): Promise<void> {
  const ended = new Promise<void>((done) => {
    if ('pages' in target) target.once('close', () => done());
    else target.once('crash', () => done());
  });
  kill();
  await Promise.race([ended, new Promise<void>((done) => setTimeout(done, 5_000))]);
}

/** A page after renderers were killed. One may get a spare renderer that is dead already, and never opens. */
export async function newPage(context: BrowserContext): Promise<Page> {
  for (;;) {
    const late = new Promise<null>((done) => setTimeout(() => done(null), 5_000));
    const page = await Promise.race([context.newPage(), late]);
    if (page) return page;
  }
}

function killAll(processes: { pid: number }[]): void {
  if (processes.length === 0) throw new Error('there is no process to kill');
  for (const { pid } of processes) kill(pid);
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended already.
  }
}

function proportional(pid: number): number {
  try {
    const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
    return Number(/^Pss:\s+(\d+) kB/m.exec(rollup)?.[1] ?? 0) * 1024;
  } catch {
    return 0; // ended meanwhile
  }
}
