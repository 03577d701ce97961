/** How the upload worker is started. The `new URL` calls stand as bundlers look for them. */

import { extendsLifetime, type HostChoice, type Hosts } from '../host/host.ts';
import type { UploadsOptions } from './settings.ts';

/**
 * By itself it takes no shared worker that ends with its last tab: it has nothing over a dedicated one, and
 * Firefox's (153) never finishes reading the middle of a file.
 */
export function workerHosts(host: HostChoice, worker: UploadsOptions['worker']): Hosts {
  const { shared, ...others } = allHosts(worker);
  return shared && (host !== 'auto' || extendsLifetime()) ? { shared, ...others } : others;
}

function allHosts(worker: UploadsOptions['worker']): Hosts {
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
    const options = { type: 'module', name: 'logferry-uploads-1', extendedLifetime: true };
    return {
      shared: () => new SharedWorker(worker, options as WorkerOptions),
      dedicated: () => new Worker(worker, options as WorkerOptions),
      main,
    };
  }
  return {
    // The options stand twice: bundlers read them only where they are written out.
    shared: () =>
      new SharedWorker(new URL('./upload-worker.js', import.meta.url), {
        type: 'module',
        name: 'logferry-uploads-1',
        extendedLifetime: true,
      } as WorkerOptions),
    dedicated: () =>
      new Worker(new URL('./upload-worker.js', import.meta.url), {
        type: 'module',
        name: 'logferry-uploads-1',
      }),
    main,
  };
}
