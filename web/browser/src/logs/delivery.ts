/** Brings one file to S3: grant, PUT, and what to do when the answer to either is missing or no. */

import type { Clock } from '../host/clock.ts';
import { type Http, Unreachable } from '../host/http.ts';
import {
  failureOf,
  type Grant,
  putFile,
  putTimeoutMs,
  Refusal,
  requestGrant,
  requestStatus,
  type Status,
  type Target,
} from './api.ts';
import { type Compress, decompress, MAX_FILE_BYTES } from './seal.ts';
import { corrected, skewOf } from './skew.ts';
import type { Batch, Store } from './store.ts';
import type { Failure } from './types.ts';

/** `null`: there is none; `undefined`: no page answers. */
export type GetToken = (reason: 'start' | 'expired') => Promise<string | null | undefined>;

/** Between two questions for a token while it keeps being refused (ms). */
const TOKEN_MS = 60_000;
/** How long after its end a PUT without an answer may still be stored (ms). */
const UNSURE_MS = 60_000;
/** Fresh URLs in a row that S3 refuses before the file counts as refused. */
const MAX_REFUSALS = 3;

/** A grant, and when it ends (ms). */
type Timed = Grant & { until: number };

/** A grant for a file of any length that a form may go to. */
export type FormGrant = Timed & { post: NonNullable<Grant['post']> };

/** A batch that was stored, or why it was not; neither: another tab has sent it, or a limit has dropped it. */
export interface Delivered {
  batch?: Batch;
  failure?: Failure;
}

export class Delivery {
  /** The largest file that the service takes (bytes). */
  maxFileBytes = MAX_FILE_BYTES;
  /** Whether times are corrected when this machine's clock is wrong. */
  correctClock = true;
  /** How much this machine's clock is fast, as the last grant showed (ms). */
  skewMs = 0;
  /** How many tokens there were. */
  tokens = 0;
  readonly #target: Target;
  readonly #http: Http;
  readonly #clock: Clock;
  readonly #compress: Compress;
  readonly #getToken: GetToken;
  /** For a file of any length: it was for a form that the page has not sent. */
  #spare: FormGrant | null = null;
  #token: string | null = null;
  #asking: Promise<string> | null = null;
  readonly #askedAt = { start: Number.NEGATIVE_INFINITY, expired: Number.NEGATIVE_INFINITY };

  constructor(target: Target, http: Http, clock: Clock, compress: Compress, getToken: GetToken) {
    this.#target = target;
    this.#http = http;
    this.#clock = clock;
    this.#compress = compress;
    this.#getToken = getToken;
  }

  /** Takes a token from the page; `false` if it is the one in use. */
  setToken(token: string): boolean {
    if (token === this.#token) return false;
    this.#token = token;
    this.tokens += 1;
    this.#askedAt.expired = Number.NEGATIVE_INFINITY;
    return true;
  }

  /** Asks for a token before there is something to send: a page that closes cannot answer any more. */
  async prepare(): Promise<void> {
    try {
      this.#token ??= await this.#ask('start');
    } catch (error) {
      // The run that needs it meets the same.
      if (!(error instanceof Refusal)) throw error;
    }
  }

  /** A grant for a form; `null` if there is none for now. Where times are corrected a form would have the wrong ones. */
  async grantForm(): Promise<FormGrant | null> {
    try {
      const { post, ...grant } = this.#takeSpare() ?? (await this.#grant());
      if (post && !this.skewMs) return { ...grant, post };
      if (post) this.keep({ ...grant, post });
      return null;
    } catch (error) {
      if (error instanceof Refusal || error instanceof Unreachable) return null;
      throw error;
    }
  }

  /** Keeps the grant of a form that is never sent for the next file. */
  keep(grant: FormGrant): void {
    this.#spare = grant;
  }

  #takeSpare(): FormGrant | null {
    const spare = this.#spare;
    this.#spare = null;
    return spare && spare.until > this.#clock.now() ? spare : null;
  }

  /** Sends a batch as far as it goes now. */
  async send(store: Store, batch: Batch): Promise<Delivered> {
    let current: Batch | undefined = batch;
    try {
      while (current) {
        const next: Batch | 'stored' | undefined = await this.#step(store, current);
        if (next === 'stored') {
          await store.remove(current.id);
          return { batch: current };
        }
        current = next;
      }
      return {};
    } catch (error) {
      if (error instanceof Refusal && !error.retry) {
        await store.update(batch.id, (now) => ({ ...now, state: 'refused' }));
      }
      return { failure: failureOf(error) };
    }
  }

  /** One request: the batch as it is after it. Every answer is written down before the next request. */
  async #step(store: Store, batch: Batch): Promise<Batch | 'stored' | undefined> {
    const [http, clock] = [this.#http, this.#clock];
    const { id, key } = batch;
    if (key === undefined) {
      // A full store fails here: a grant that cannot be written down is wasted.
      await store.update(id, (now) => now);
      const spare = this.#takeSpare();
      const grant = spare ?? (await this.#grant(batch.bytes));
      if (this.skewMs && batch.skewMs === undefined) {
        // A grant for the length of the file as it was stays unused, and the file gets another.
        this.#spare = spare;
        return this.#correct(store, batch);
      }
      this.maxFileBytes = grant.maxBytes ?? this.maxFileBytes;
      const { key, url, headers, until } = grant;
      // The first key stays, should another tab have been given one meanwhile.
      return store.update(id, (now) => (now.key === undefined ? { ...now, key, url, headers, until } : now));
    }
    if ((batch.until ?? 0) <= clock.now()) {
      const status = await this.#authorized((token) => requestStatus(http, this.#target, token, key));
      if (status?.received) return 'stored';
      const wait = (batch.unsure ?? 0) + UNSURE_MS - clock.now();
      if (wait > 0) {
        const message = 'a file was sent without an answer; it is sent again unless it arrives';
        throw new Refusal({ code: 'PENDING', message, afterMs: wait }, true, 0);
      }
      return store.update(id, (now) => (now.key === key ? withoutKey(now) : now));
    }
    const data = await store.data(id);
    if (!data) return undefined;
    // Written down before it begins: the file may arrive although no host lives to hear of it.
    const under = clock.now() + putTimeoutMs(batch.bytes);
    const begun = await store.update(id, (now) => (now.key === key ? { ...now, unsure: under } : now));
    if (begun?.key !== key) return begun;
    try {
      if ((await putFile(http, batch, data)) === 'stored') return 'stored';
    } catch (error) {
      const open = error instanceof Unreachable || (error instanceof Refusal && error.status >= 500);
      await this.#ended(store, id, under, open ? clock.now() : batch.unsure);
      throw error;
    }
    await this.#ended(store, id, under, batch.unsure);
    if (batch.refusals + 1 >= MAX_REFUSALS) {
      throw new Refusal({ code: 'REFUSED', message: 'S3 refuses fresh URLs' }, false, 403);
    }
    return store.update(id, (now) =>
      now.key === key ? { ...now, until: 0, refusals: now.refusals + 1 } : now,
    );
  }

  /** A grant, which also shows how wrong this machine's clock is. */
  async #grant(length?: number): Promise<Timed> {
    let sent = 0;
    const grant = await this.#authorized((token) => {
      sent = this.#clock.now();
      return requestGrant(this.#http, this.#target, token, length);
    });
    const now = this.#clock.now();
    this.skewMs = this.correctClock ? skewOf(grant.key, sent, now) : 0;
    return { ...grant, until: now + grant.expiresInMs };
  }

  /** Seals a file again with corrected times. Files that are sealed later get them at once. */
  async #correct(store: Store, batch: Batch): Promise<Batch | undefined> {
    const data = await store.data(batch.id);
    if (!data) return undefined;
    const text = corrected(await decompress(data), this.skewMs, this.#clock.now());
    const better = await this.#compress(text);
    // As it is rather than never.
    if (better.byteLength > this.maxFileBytes)
      return store.update(batch.id, (now) => ({ ...now, skewMs: 0 }));
    const corrections = { bytes: better.byteLength, skewMs: this.skewMs };
    // Another tab may have been granted a key for the file as it was.
    const change = (now: Batch) => (now.key === undefined ? { ...now, ...corrections } : now);
    return store.update(batch.id, change, better);
  }

  /** A PUT is over: until when it may have been stored, unless another tab has begun one since. */
  async #ended(store: Store, id: string, under: number, unsure: number | undefined): Promise<void> {
    await store.update(id, (now) => (now.unsure === under ? { ...now, unsure: unsure ?? 0 } : now));
  }

  /** What became of a file, by the service. */
  status(key: string): Promise<Status | null> {
    return this.#authorized((token) => requestStatus(this.#http, this.#target, token, key));
  }

  /** A request with the token; with a new one if it has expired, asked for at most once a minute. */
  async #authorized<T>(request: (token: string) => Promise<T>): Promise<T> {
    for (const reason of ['start', 'expired'] as const) {
      if (!this.#token || reason === 'expired') this.#token = await this.#ask(reason);
      try {
        return await request(this.#token);
      } catch (error) {
        if (failureOf(error).code !== 'AUTH_FAILED') throw error;
      }
    }
    throw this.#noToken('the service refuses the token');
  }

  /** One question at a time, for all that need the answer. */
  #ask(reason: 'start' | 'expired'): Promise<string> {
    this.#asking ??= this.#askOnce(reason).finally(() => {
      this.#asking = null;
    });
    return this.#asking;
  }

  async #askOnce(reason: 'start' | 'expired'): Promise<string> {
    const last = this.#askedAt[reason];
    if (this.#clock.now() - last < TOKEN_MS) throw this.#noToken('the service refuses the token');
    this.#askedAt[reason] = this.#clock.now();
    const token = await this.#getToken(reason);
    if (token === undefined) {
      // Not counted as a question: the next page may be asked at once.
      this.#askedAt[reason] = last;
      throw new Refusal({ code: 'AUTH_FAILED', message: 'no page answers for a token' }, true, 401);
    }
    if (token === null) throw this.#noToken('getToken gave no token');
    this.tokens += 1;
    return token;
  }

  #noToken(message: string): Refusal {
    const last = Math.max(this.#askedAt.start, this.#askedAt.expired);
    const afterMs = Math.max(1, last + TOKEN_MS - this.#clock.now());
    return new Refusal({ code: 'AUTH_FAILED', message, afterMs }, true, 401);
  }
}

function withoutKey(batch: Batch): Batch {
  const { key: _key, url: _url, headers: _headers, until: _until, unsure: _unsure, ...rest } = batch;
  return rest;
}
