/** A browser with a profile of its own on the disk, and its processes: to kill and to weigh. */

import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BrowserContext, chromium, type Page } from '@playwright/test';

export class Profile {
  readonly folder = mkdtempSync(join(tmpdir(), 'logferry-profile-'));
  #context: BrowserContext | undefined;

  async open(): Promise<BrowserContext> {
    const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
    this.#context = await chromium.launchPersistentContext(this.folder, {
      executablePath,
      args: ['--no-sandbox'],
    });
    return this.#context;
  }

  /** SIGKILL to every renderer: pages and workers alike. */
  async killRenderers(page: Page): Promise<void> {
    const crashed = new Promise<void>((done) => page.once('crash', () => done()));
    for (const pid of this.#processes('--type=renderer')) kill(pid);
    await soon(crashed);
  }

  /** SIGKILL to the browser itself; its children end with it. */
  async killBrowser(): Promise<void> {
    const closed = new Promise<void>((done) => this.#context?.once('close', () => done()));
    for (const pid of this.#processes('')) kill(pid);
    await soon(closed);
    this.#context = undefined;
  }

  /** Resident memory of all processes without what they share (bytes). */
  memoryBytes(): number {
    return this.#processes('').reduce((bytes, pid) => bytes + proportional(pid), 0);
  }

  async remove(): Promise<void> {
    await this.#context?.close();
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 10 });
  }

  #processes(having: string): number[] {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .filter((pid) => {
        const line = read(`/proc/${pid}/cmdline`);
        return line.includes(this.folder) && line.includes(having);
      })
      .map(Number);
  }
}

/** Playwright does not always report the end of what was killed (ms). */
function soon(end: Promise<void>, ms = 5_000): Promise<void> {
  return Promise.race([end, new Promise<void>((done) => setTimeout(done, ms))]);
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended by itself.
  }
}

function proportional(pid: number): number {
  const kib = /^Pss:\s+(\d+) kB/m.exec(read(`/proc/${pid}/smaps_rollup`))?.[1] ?? '0';
  return Number(kib) * 1024;
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
