/** How the upload worker is started. The `new URL` calls stand as bundlers look for them. */

import type { Hosts } from '../host/host.ts';
import type { UploadsOptions } from './settings.ts';

export function workerHosts(worker: UploadsOptions['worker']): Hosts {
  const main = async () => (await import('./serve.ts')).serveUploads();
  if (typeof worker === 'function') {
    // The kind shows only when it is started.
    let started: Worker | SharedWorker | undefined;
    const start = <T extends Worker | SharedWorker>(kind: 'port' | 'terminate'): T => {
      started ??= worker();
      if (!(kind in started)) throw new Error('a worker of the other kind');
      const taken = started as T;
      started = undefined;
      return taken;
    };
    return { shared: () => start<SharedWorker>('port'), dedicated: () => start<Worker>('terminate'), main };
  }
  if (worker !== undefined) {
    const options = { type: 'module', extendedLifetime: true } as WorkerOptions;
    return {
      shared: () => new SharedWorker(worker, options),
      dedicated: () => new Worker(worker, { type: 'module' }),
      main,
    };
  }
  return {
    shared: () =>
      new SharedWorker(new URL('./upload-worker.js', import.meta.url), {
        type: 'module',
        extendedLifetime: true,
      } as WorkerOptions),
    dedicated: () => new Worker(new URL('./upload-worker.js', import.meta.url), { type: 'module' }),
    main,
  };
}
