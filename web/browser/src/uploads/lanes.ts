/** Sends the missing parts of one session: a few at once, begun in order. */

import type { Clock } from '../host/clock.ts';
import { Unreachable } from '../host/http.ts';
import { Passing, SessionGone, UploadFailure } from './errors.ts';
import type { Pace, Slots } from './pace.ts';
import type { Patience } from './patience.ts';
import type { Part } from './plan.ts';
import { either, type PartAnswer, type PutPart } from './ports.ts';
import type { SessionName, UploadService } from './service.ts';
import type { Position } from './speed.ts';

/** Parts signed with one call, and how long their URLs are used: they live 15 min (ms). */
const SIGNED_AT_ONCE = 20;
const URL_AGE_MS = 12 * 60_000;

/** The bucket's CORS rule that a browser needs to read the ETag of a part. */
const NO_ETAG =
  'S3 stored a part, but the browser may not read its ETag: add "ETag" to ExposeHeaders in the CORS rules of the bucket';

export interface LanePorts {
  service: UploadService;
  put: PutPart;
  clock: Clock;
  pace: Pace;
  slots: Slots;
}

export interface Sending {
  session: SessionName;
  file: Blob;
  /** The parts to send, in order. */
  parts: Part[];
  position: Position;
  /** ETags of what is stored; the lanes add theirs. */
  etags: Map<number, string>;
  parallel: number;
  /** Progress of any part. */
  onMoved(): void;
}

export class Lanes {
  readonly #ports: LanePorts;
  readonly #patience: Patience;
  readonly #sending: Sending;
  readonly #urls: Urls;
  #next = 0;
  #busy = 0;
  #draining = false;

  constructor(ports: LanePorts, patience: Patience, sending: Sending) {
    this.#ports = ports;
    this.#patience = patience;
    this.#sending = sending;
    this.#urls = new Urls(ports, sending);
  }

  /** Begins no more parts; those under way end. */
  drain(): void {
    this.#draining = true;
  }

  /** Resolves when every part is stored or, drained, when none is under way. */
  run(signal: AbortSignal): Promise<void> {
    const { parts, parallel } = this.#sending;
    // The first lane that fails stops the others.
    const stop = new AbortController();
    const both = either(signal, stop.signal);
    return new Promise((resolve, reject) => {
      const fail = (error: unknown) => {
        stop.abort(error);
        reject(error);
      };
      const pump = () => {
        // With a limit, one lane: two would only make its bursts larger.
        const lanes = this.#ports.pace.limited ? 1 : parallel;
        while (this.#busy < lanes && !this.#draining && !both.aborted) {
          const part = parts[this.#next];
          if (!part) break;
          this.#next += 1;
          this.#busy += 1;
          this.#send(part, both).then(() => {
            this.#busy -= 1;
            pump();
          }, fail);
        }
        if (this.#busy === 0 && (this.#draining || this.#next >= parts.length)) resolve();
      };
      if (signal.aborted) return reject(signal.reason);
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
      pump();
    });
  }

  async #send(part: Part, signal: AbortSignal): Promise<void> {
    const { position, etags, onMoved } = this.#sending;
    const etag = await this.#patience.run(signal, async () => {
      try {
        return await this.#try(part, signal);
      } catch (error) {
        position.sent(part.number, 0);
        onMoved();
        throw error;
      }
    });
    etags.set(part.number, etag);
    position.done(part.number, part.size);
    onMoved();
  }

  async #try(part: Part, signal: AbortSignal): Promise<string> {
    const { file, position, onMoved } = this.#sending;
    await this.#ports.pace.take(part.size, signal);
    const free = await this.#ports.slots.take(signal);
    try {
      const url = await this.#urls.of(part, signal);
      signal.throwIfAborted();
      const body = file.slice(part.offset, part.offset + part.size);
      const answer = await this.#ports.put({
        url,
        body,
        signal,
        onSent: (bytes) => {
          position.sent(part.number, bytes);
          onMoved();
        },
      });
      return this.#etag(part, answer);
    } catch (error) {
      if (!(error instanceof Unreachable)) throw error;
      if (!(await readable(file, part))) {
        throw new UploadFailure('FILE_CHANGED', 'the file was changed or removed while it was uploaded');
      }
      throw new Passing(
        new UploadFailure('CHUNK_UPLOAD_FAILED', `part ${part.number}: ${error.message}`),
        true,
      );
    } finally {
      free();
    }
  }

  #etag(part: Part, answer: PartAnswer): string {
    const { status, etag, retryAfterMs } = answer;
    if (status >= 200 && status < 300) {
      if (etag) return etag;
      throw new UploadFailure('CHUNK_UPLOAD_FAILED', NO_ETAG, { exposeHeaders: 'ETag' });
    }
    if (status === 404) throw new SessionGone();
    // Expired, or signed with credentials that are: the others were signed with the same.
    if (status === 403) this.#urls.forget();
    const message = `part ${part.number}: S3 answered ${status}`;
    throw new Passing(new UploadFailure('CHUNK_UPLOAD_FAILED', message, { status }), false, retryAfterMs);
  }
}

/** The signed URLs of the next parts. */
class Urls {
  readonly #ports: LanePorts;
  readonly #sending: Sending;
  #known = new Map<number, { url: string; until: number }>();
  #asking: Promise<void> | undefined;

  constructor(ports: LanePorts, sending: Sending) {
    this.#ports = ports;
    this.#sending = sending;
  }

  forget(): void {
    this.#known.clear();
  }

  async of(part: Part, signal: AbortSignal): Promise<string> {
    for (;;) {
      const known = this.#known.get(part.number);
      if (known && known.until > this.#ports.clock.now()) return known.url;
      // One call at a time; its answer mostly serves the lanes that wait for it, too.
      const asking = this.#asking ?? this.#ask(part, signal);
      this.#asking = asking;
      try {
        await asking;
      } finally {
        if (this.#asking === asking) this.#asking = undefined;
      }
      signal.throwIfAborted();
    }
  }

  async #ask(from: Part, signal: AbortSignal): Promise<void> {
    const { parts, session, etags } = this.#sending;
    const missing = parts.filter((part) => part.number >= from.number && !etags.has(part.number));
    const asked = missing.slice(0, SIGNED_AT_ONCE);
    const until = this.#ports.clock.now() + URL_AGE_MS;
    const urls = await this.#ports.service.sign(session, asked, signal);
    if (!urls.has(from.number)) {
      throw new UploadFailure('CHUNK_UPLOAD_FAILED', `the service signed no URL for part ${from.number}`);
    }
    for (const [number, url] of urls) this.#known.set(number, { url, until });
  }
}

async function readable(file: Blob, part: Part): Promise<boolean> {
  try {
    await file.slice(part.offset, part.offset + 1).arrayBuffer();
    return true;
  } catch {
    return false;
  }
}
