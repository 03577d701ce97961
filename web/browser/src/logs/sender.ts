/**
 * Runs for one scope: one at a time for all tabs of the origin. A run seals what waits and sends every file;
 * failures are retried later, a flush waits for the run that began after it.
 */

import { type Backoff, delayMs } from '../host/backoff.ts';
import type { Clock } from '../host/clock.ts';
import type { Http } from '../host/http.ts';
import type { Exclusive } from '../host/locks.ts';
import { failureOf, type Target } from './api.ts';
import { Delivery, type GetToken } from './delivery.ts';
import { settle } from './held.ts';
import { type Compress, sealNext } from './seal.ts';
import type { Spool } from './spool.ts';
import type { Batch } from './store.ts';
import type { Failure, Summary } from './types.ts';

export interface SenderPorts {
  spool: Spool;
  http: Http;
  clock: Clock;
  exclusive: Exclusive;
  compress: Compress;
}

/** 1 s doubling to 60 s; after ten failures in a row one try each 5 min. */
const BACKOFF: Backoff = { baseMs: 1_000, maxMs: 60_000, rareAfter: 10, rareMs: 300_000 };

/** A flush that waits. */
interface Waiter {
  summary: Summary;
  /** A run has begun after the flush was asked for. */
  covered: boolean;
  until: number;
  done(outcome: Outcome): void;
}

export type Outcome = { summary: Summary; failure?: undefined } | { failure: Failure; retryInMs: number };

export class Sender {
  readonly scope: string;
  readonly delivery: Delivery;
  /** Whether failures are retried while no flush waits. */
  keepTrying = false;
  lastFailure: Failure | undefined;
  /** Asks the pages for their forms; `false` if one that does not answer may have sent its. */
  recall: () => Promise<boolean> = async () => true;
  /** Whether a page still has the form of a key. */
  isHere: (key: string) => boolean = () => false;
  readonly #ports: SenderPorts;
  #running = false;
  #again = false;
  #failures = 0;
  /** No try before this, whatever happens: `Retry-After`, or a token that is refused (ms). */
  #holdUntil = 0;
  #nextTry: { at: number; cancel: () => void } | null = null;
  #waiters: Waiter[] = [];
  /** Ends the waiting for forms of pages that are gone. */
  #notLook: () => void = () => {};
  /** Which token the refused files were refused with; none by a host that is new. */
  #admittedWith = -1;

  constructor(scope: string, target: Target, ports: SenderPorts, getToken: GetToken) {
    this.scope = scope;
    this.#ports = ports;
    this.delivery = new Delivery(target, ports.http, ports.clock, ports.compress, getToken);
  }

  /** The name of the lock that a run holds. */
  get lock(): string {
    return `logferry-logs:${this.scope}`;
  }

  /** Whether a run of this host is under way. */
  get running(): boolean {
    return this.#running;
  }

  /** When the next try is due (ms from now), if one is. */
  get retryInMs(): number | undefined {
    return this.#nextTry ? Math.max(0, this.#nextTry.at - this.#ports.clock.now()) : undefined;
  }

  /** A token from the page: what failed is tried again, and what was refused. */
  async setToken(token: string): Promise<void> {
    if (!this.delivery.setToken(token)) return;
    if (this.lastFailure) this.#holdUntil = 0;
    if (this.lastFailure || (await this.#readmit())) this.wake();
  }

  /** Files that were refused may go again, by a new host or with a new token; whether there were any. */
  async #readmit(): Promise<boolean> {
    let any = false;
    for (const store of this.#ports.spool.stores()) {
      for (const { id, state } of await store.batches(this.scope)) {
        if (state !== 'refused') continue;
        await store.update(id, (batch) => ({ ...batch, state: 'ready', refusals: 0 }));
        any = true;
      }
    }
    return any;
  }

  /** Resolves when every line stored before the call is in S3, or with why not at `timeoutMs`. */
  flush(timeoutMs: number): Promise<Outcome> {
    const { clock } = this.#ports;
    return new Promise((resolve) => {
      const until = clock.now() + timeoutMs;
      const summary: Summary = { uploaded: 0, files: [], dropped: 0 };
      const waiter: Waiter = {
        summary,
        covered: false,
        until,
        done: (outcome) => {
          cancel();
          this.#waiters = this.#waiters.filter((other) => other !== waiter);
          resolve(outcome);
        },
      };
      const cancel = clock.after(timeoutMs, () => {
        const late: Failure = { code: 'DEADLINE', message: `not uploaded within ${timeoutMs / 1000} s` };
        waiter.done({ failure: this.lastFailure ?? late, retryInMs: this.retryInMs ?? 0 });
        if (!this.keepTrying && this.#waiters.length === 0) this.#unschedule();
      });
      this.#waiters.push(waiter);
      this.wake();
    });
  }

  /** A run now, or as soon as the service allows: the waiting after failures ends. */
  wake(): void {
    this.#failures = 0;
    this.#unschedule();
    this.run();
  }

  /** A run, unless one is going or the next try has its time. */
  run(): void {
    if (this.#running) this.#again = true;
    else if (!this.#nextTry) {
      const wait = this.#holdUntil - this.#ports.clock.now();
      if (wait > 0) this.#schedule(wait);
      else void this.#loop();
    }
  }

  /** Ends its timers; a flush that waits is retried until its time is over. */
  stop(): void {
    if (!this.#waiters.length) this.#unschedule();
    this.#notLook();
    this.keepTrying = false;
  }

  async #loop(): Promise<void> {
    this.#running = true;
    do {
      this.#again = false;
      const failure = await this.#locked();
      this.lastFailure = failure;
      if (failure) {
        this.#failed(failure);
        // After a refusal the lines that came meanwhile may still go.
        if (failure.code !== 'REFUSED') break;
      } else {
        this.#failures = 0;
        for (const waiter of this.#waiters) if (waiter.covered) waiter.done({ summary: waiter.summary });
      }
    } while (this.#again);
    this.#running = false;
  }

  async #locked(): Promise<Failure | undefined> {
    try {
      return await this.#ports.exclusive(this.lock, () => this.#pass());
    } catch (error) {
      this.#ports.spool.failed(error);
      return failureOf(error);
    }
  }

  #failed(failure: Failure): void {
    this.#failures += 1;
    const { clock } = this.#ports;
    const asked = failure.afterMs ?? 0;
    if (asked) this.#holdUntil = clock.now() + asked;
    const wait = Math.max(asked, delayMs(BACKOFF, this.#failures, clock.random));
    const hopeless = failure.code === 'REFUSED';
    for (const waiter of this.#waiters) {
      const late = clock.now() + wait > waiter.until;
      if (waiter.covered && (hopeless || late)) waiter.done({ failure, retryInMs: wait });
    }
    if (!hopeless && (this.keepTrying || this.#waiters.length)) this.#schedule(wait);
  }

  #schedule(ms: number): void {
    this.#unschedule();
    const { clock } = this.#ports;
    const cancel = clock.after(ms, () => {
      this.#nextTry = null;
      this.run();
    });
    this.#nextTry = { at: clock.now() + ms, cancel };
  }

  #unschedule(): void {
    this.#nextTry?.cancel();
    this.#nextTry = null;
  }

  /** Seals everything, then sends every file. Ends with the first failure that the others would meet too. */
  async #pass(): Promise<Failure | undefined> {
    for (const waiter of this.#waiters) waiter.covered = true;
    await this.#ports.spool.ready();
    if (this.#admittedWith !== this.delivery.tokens) await this.#readmit();
    try {
      return await this.#sendAll();
    } finally {
      this.#admittedWith = this.delivery.tokens;
    }
  }

  async #sendAll(): Promise<Failure | undefined> {
    const { spool, clock, compress } = this.#ports;
    const back = await this.recall();
    let failure = await this.#settle();
    for (const store of spool.stores()) {
      // Lines of a form that was sent may be there: in the database they are held.
      if (store.kind === 'memory' && !back) continue;
      try {
        const { maxFileBytes, skewMs } = this.delivery;
        while (await sealNext(store, this.scope, clock, maxFileBytes, compress, skewMs));
      } catch (error) {
        // What was sealed before can be sent all the same.
        spool.failed(error);
        failure = failureOf(error);
      }
      for (const batch of await store.batches(this.scope)) {
        if (batch.state === 'refused') {
          failure ??= { code: 'REFUSED', message: 'a file is refused' };
          continue;
        }
        const delivered = await this.delivery.send(store, batch);
        if (delivered.batch) this.#stored(delivered.batch);
        if (!delivered.failure) continue;
        const { code } = delivered.failure;
        if (code !== 'REFUSED' && code !== 'STORAGE') return delivered.failure;
        if (!failure || failure.code === 'REFUSED') failure = delivered.failure;
        // What is in the other store can be sent all the same.
        if (code === 'STORAGE') break;
      }
    }
    return failure;
  }

  /** Looks after the forms of pages that are gone. */
  async #settle(): Promise<Failure | undefined> {
    const { spool, clock } = this.#ports;
    if (!spool.durable) return undefined;
    try {
      const at = await settle(spool.durable, this.scope, this.delivery, clock, this.isHere);
      this.#notLook();
      if (at && this.keepTrying) this.#notLook = clock.after(at - clock.now(), () => this.run());
      return undefined;
    } catch (error) {
      const failure = failureOf(error);
      if (failure.code === 'STORAGE') spool.failed(error);
      return failure;
    }
  }

  #stored(batch: Batch): void {
    for (const { summary } of this.#waiters) {
      summary.uploaded += batch.n;
      summary.dropped += batch.dropped;
      summary.files.push({ key: batch.key ?? '', lines: batch.n });
    }
  }
}
