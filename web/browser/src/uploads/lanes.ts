/** Sends the missing parts of one session: a few at once, begun in order. */

import type { Clock } from '../host/clock.ts';
import { Unreachable } from '../host/http.ts';
import { fileChanged, UploadFailure } from './errors.ts';
import type { Pace, Slots } from './pace.ts';
import type { Patience } from './patience.ts';
import type { Part } from './plan.ts';
import { type PutPart, unless } from './ports.ts';
import type { SessionName, UploadService } from './service.ts';
import type { Position } from './speed.ts';

/** Parts signed with one call, and how long their URLs are used: they live 15 min (ms). */
const SIGNED_AT_ONCE = 20;
const URL_AGE_MS = 12 * 60_000;

const CODE = 'CHUNK_UPLOAD_FAILED';

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
  /** No more parts begin; those under way end. */
  draining(): boolean;
  /** Progress of any part. */
  onMoved(): void;
}

/** Resolves when every part is stored or, while draining, when none is under way. */
export async function sendParts(
  { service, put, clock, pace, slots }: LanePorts,
  patience: Patience,
  { session, file, parts, position, etags, parallel, draining, onMoved }: Sending,
  signal: AbortSignal,
): Promise<void> {
  signal.throwIfAborted();
  // The first lane that fails stops the others.
  const stop = new AbortController();
  signal.addEventListener('abort', () => stop.abort(signal.reason), { once: true });

  /** The signed URLs of the next parts, by their numbers. */
  let urls: Record<string, string> = {};
  let urlsUntil = 0;
  let asking: Promise<void> | undefined;

  const sign = async (from: number): Promise<void> => {
    const missing = parts.filter(({ number }) => number >= from && !etags.has(number));
    const until = clock.now() + URL_AGE_MS;
    urls = await service.sign(session, missing.slice(0, SIGNED_AT_ONCE), stop.signal);
    urlsUntil = until;
    if (!urls[from]) throw new UploadFailure(CODE, `the service signed no URL for part ${from}`);
  };

  const urlOf = async (number: number): Promise<string> => {
    for (;;) {
      const url = urls[number];
      if (url && urlsUntil > clock.now()) return url;
      // One call at a time; its answer mostly serves the lanes that wait for it, too.
      asking ??= sign(number).finally(() => {
        asking = undefined;
      });
      await asking;
    }
  };

  /** One try; the result is the part's ETag. */
  const tryPart = async ({ number, offset, size }: Part): Promise<string> => {
    await pace.take(size, stop.signal);
    const free = await slots.take(stop.signal);
    try {
      const url = await urlOf(number);
      stop.signal.throwIfAborted();
      const { status, etag, retryAfterMs } = await put({
        url,
        body: file.slice(offset, offset + size),
        signal: stop.signal,
        onSent(bytes) {
          position.sent(number, bytes);
          onMoved();
        },
      });
      if (status >= 200 && status < 300) {
        if (etag) return etag;
        const why = 'the CORS rules of the bucket hide ETag: add it to ExposeHeaders';
        throw new UploadFailure(CODE, why, { exposeHeaders: 'ETag' });
      }
      // Expired, or signed with credentials that are: the others were signed with the same.
      if (status === 403) urls = {};
      const text = `part ${number}: S3 answered ${status}`;
      if (status === 404) throw new UploadFailure('SESSION_GONE', text);
      throw new UploadFailure(CODE, text, { status }, { retryAfterMs });
    } catch (error) {
      if (!(error instanceof Unreachable)) throw error;
      await checkReadable(file, offset);
      throw new UploadFailure(CODE, `part ${number}: ${error.message}`, undefined, { network: true });
    } finally {
      free();
    }
  };

  const send = async (part: Part): Promise<void> => {
    const etag = await patience.run(stop.signal, () =>
      tryPart(part).catch((error: unknown) => {
        position.sent(part.number, 0);
        onMoved();
        throw error;
      }),
    );
    etags.set(part.number, etag);
    position.done(part.number, part.size);
    onMoved();
  };

  const left = [...parts];
  let busy = 0;
  const sent = new Promise<void>((resolve) => {
    const pump = () => {
      // With a limit, one lane: two would only make its bursts larger.
      while (busy < (pace.limited ? 1 : parallel) && !draining()) {
        const part = left.shift();
        if (!part) break;
        busy += 1;
        send(part).then(
          () => {
            busy -= 1;
            pump();
          },
          (error) => stop.abort(error),
        );
      }
      if (!busy) resolve();
    };
    pump();
  });
  return unless(stop.signal, sent);
}

/** A disk file that was written to since it was picked cannot be read any more. */
export async function checkReadable(file: Blob, offset = 0): Promise<void> {
  try {
    await file.slice(offset, offset + 1).arrayBuffer();
  } catch {
    throw fileChanged();
  }
}
