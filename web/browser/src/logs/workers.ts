/** How the log worker is started. Bundlers look for `new Worker(new URL(…, import.meta.url))` as it stands here. */

import { type Hosts, type WorkerOption, withWorker } from '../host/host.ts';

export type { WorkerOption };

const OWN: Hosts = {
  // The options stand twice, because bundlers read them only where they are written out.
  shared: () =>
    new SharedWorker(new URL('./log-worker.js', import.meta.url), {
      type: 'module',
      name: 'logferry-logs-1',
      extendedLifetime: true,
    } as WorkerOptions),
  dedicated: () =>
    new Worker(new URL('./log-worker.js', import.meta.url), { type: 'module', name: 'logferry-logs-1' }),
  main: async () => (await import('./main-host.ts')).serve,
};

export const workerHosts = (worker?: WorkerOption): Hosts => withWorker(OWN, 'logferry-logs-1', worker);
