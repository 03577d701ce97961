/** How the log worker is started. Bundlers look for `new Worker(new URL(…, import.meta.url))` as it stands here. */

import type { Hosts } from '../host/host.ts';

/** The worker file's address, or a function that starts the worker. */
export type WorkerOption = string | URL | (() => Worker | SharedWorker);

const main: NonNullable<Hosts['main']> = async () => (await import('./main-host.ts')).serve;

export function workerHosts(worker?: WorkerOption): Hosts {
  if (typeof worker === 'function') {
    let started: Worker | SharedWorker | null = null;
    const start = () => {
      started ??= worker();
      return started;
    };
    const isShared = () => typeof SharedWorker !== 'undefined' && start() instanceof SharedWorker;
    return {
      shared: () => {
        if (!isShared()) throw new Error('`worker` starts a dedicated worker');
        return start() as SharedWorker;
      },
      dedicated: () => {
        if (isShared()) throw new Error('`worker` starts a shared worker');
        const dedicated = start() as Worker;
        started = null;
        return dedicated;
      },
      main,
    };
  }
  if (worker !== undefined) {
    return {
      shared: () => new SharedWorker(worker, options),
      dedicated: () => new Worker(worker, { name: options.name }),
      main,
    };
  }
  return {
    // The options stand twice, because bundlers read them only where they are written out.
    shared: () =>
      new SharedWorker(new URL('./log-worker.js', import.meta.url), {
        type: 'module',
        name: 'logferry-logs-1',
        extendedLifetime: true,
      } as WorkerOptions),
    dedicated: () =>
      new Worker(new URL('./log-worker.js', import.meta.url), { type: 'module', name: 'logferry-logs-1' }),
    main,
  };
}

const options = { type: 'module', name: 'logferry-logs-1', extendedLifetime: true } as const;
