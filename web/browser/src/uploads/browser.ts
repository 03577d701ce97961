/** The ports of the upload core in a browser's page or worker. */

import { realClock } from '../host/clock.ts';
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
  async hold(name, signal) {
    return (await request(name, { signal })) ?? (() => {});
  },
};

function request(name: string, options: LockOptions): Promise<(() => void) | null> {
  const manager = typeof navigator === 'undefined' ? undefined : navigator.locks;
  if (!manager) return Promise.resolve(() => {});
  return new Promise((resolve, reject) => {
    const held = manager.request(name, options, (lock) => {
      if (!lock) return resolve(null);
      return new Promise<void>((release) => resolve(release));
    });
    held.catch(reject);
  });
}

/** Messages to the upload workers of other tabs. */
export interface Channel {
  post(message: unknown): void;
  onmessage(receive: (message: unknown) => void): void;
  close(): void;
}

export function broadcast(name: string): Channel {
  if (typeof BroadcastChannel === 'undefined') return { post() {}, onmessage() {}, close() {} };
  const channel = new BroadcastChannel(name);
  return {
    post: (message) => channel.postMessage(message),
    onmessage(receive) {
      channel.onmessage = ({ data }) => receive(data);
    },
    close: () => channel.close(),
  };
}

export const clock = realClock;
