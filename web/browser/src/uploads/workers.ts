/** How the upload worker is started. The `new URL` calls stand as bundlers look for them. */

import type { Hosts } from '../host/host.ts';

export const OWN_HOSTS: Hosts = {
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
  main: async () => (await import('./serve.ts')).serveUploads(),
};
