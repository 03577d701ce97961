/** The service with the browser's own parts. */

import { newId, realClock } from '../host/clock.ts';
import { fetchHttp } from '../host/http.ts';
import { leases, webLocks } from '../host/locks.ts';
import { IdbStore } from './idb-store.ts';
import { compress } from './seal.ts';
import { LogService } from './service.ts';

export function browserService(): LogService {
  const clock = realClock;
  const primary = new IdbStore();
  const locks = typeof navigator === 'undefined' ? undefined : navigator.locks;
  const exclusive = locks ? webLocks(locks, clock) : leases(primary, newId(), clock);
  return new LogService({ primary, http: fetchHttp(clock), clock, exclusive, compress });
}
