/** The ports of the upload core in a browser's page or worker. */

import type { Locks, Network } from './ports.ts';

/** Workers do not always hear of `online` and `offline`: their pages relay them. */
export interface RelayedNetwork extends Network {
  tell(online: boolean): void;
}

export function network(): RelayedNetwork {
  const waiting = new Set<() => void>();
  let pageOnline = true;
  const back = () => {
    pageOnline = true;
    for (const run of [...waiting]) run();
  };
  addEventListener('online', back);
  return {
    online: () => navigator.onLine !== false && pageOnline,
    onOnline(run) {
      waiting.add(run);
      return () => waiting.delete(run);
    },
    tell(online) {
      if (online) back();
      else pageOnline = false;
    },
  };
}

/** Web Locks. Without them every tab takes every upload for its own: parts are sent twice, not wrongly. */
export const locks: Locks = {
  tryHold: (name) => request(name, { ifAvailable: true }),
  // Without `ifAvailable` it is never null.
  hold: (name) => request(name, {}) as Promise<() => void>,
};

function request(name: string, options: LockOptions): Promise<(() => void) | null> {
  const manager = navigator.locks as LockManager | undefined;
  return new Promise((resolve, reject) => {
    if (!manager) return resolve(() => {});
    const hold = (lock: Lock | null) =>
      lock ? new Promise<void>((release) => resolve(release)) : resolve(null);
    manager.request(name, options, hold).catch(reject);
  });
}
