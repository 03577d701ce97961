/**
 * The routes of uploads, one method each and one try each: `Patience` repeats them.
 * They are those of Uppy Companion: see docs/api.md, "Uploading large files".
 */

import { Unreachable } from '../host/http.ts';
import { isPassing, refusal, type UploadErrorCode, UploadFailure } from './errors.ts';
import type { Part, StoredPart } from './plan.ts';
import { type Reply, type Send, unless } from './ports.ts';

/** A session as the service names it. */
export interface SessionName {
  sessionId: string;
  key: string;
}

export interface NewSession {
  filename: string;
  type: string;
  size: number;
  metadata: Record<string, string>;
}

export interface Created extends SessionName {
  partSize: number;
}

export interface Completed {
  key: string;
  location: string;
}

export class UploadService {
  readonly #send: Send;

  constructor(send: Send) {
    this.#send = send;
  }

  /** An answer that is under way is waited for: a session that none knows cannot be freed. */
  async create(session: NewSession, signal: AbortSignal): Promise<Created> {
    const reply = await this.#call('UPLOAD_INIT_FAILED', 'POST', '/s3/multipart', session, signal);
    const { uploadId, key, partSize = 0 } = reply as { uploadId?: string; key?: string; partSize?: number };
    if (!uploadId || !key) throw new UploadFailure('UPLOAD_INIT_FAILED', 'the service named no session');
    return { sessionId: uploadId, key, partSize };
  }

  /** What S3 has of the session. */
  async parts(session: SessionName, signal: AbortSignal): Promise<StoredPart[]> {
    const listed = await unless(signal, this.#call('NETWORK_ERROR', 'GET', path(session), undefined, signal));
    return (listed as { PartNumber: number; ETag: string; Size: number }[]).map((part) => ({
      number: part.PartNumber,
      etag: part.ETag,
      size: part.Size,
    }));
  }

  /** A URL for each part, by its number, good for 15 minutes. */
  async sign(session: SessionName, parts: Part[], signal: AbortSignal): Promise<Record<string, string>> {
    const to = batchPath(session, parts);
    const reply = await unless(signal, this.#call('CHUNK_UPLOAD_FAILED', 'GET', to, undefined, signal));
    return (reply as { presignedUrls: Record<string, string> }).presignedUrls;
  }

  /** Whether the service answers at all; signing asks nothing of S3, so it costs the least. */
  reachable(session: SessionName, part: Part, signal: AbortSignal): Promise<boolean> {
    return unless(signal, this.#reply('GET', batchPath(session, [part]), undefined, signal)).then(Boolean);
  }

  /** `incomplete`: S3 lacks parts of the list or has others (409). */
  async complete(
    session: SessionName,
    etags: ReadonlyMap<number, string>,
    signal: AbortSignal,
  ): Promise<Completed | { incomplete: UploadFailure }> {
    const parts = [...etags].map(([PartNumber, ETag]) => ({ PartNumber, ETag }));
    parts.sort((one, other) => one.PartNumber - other.PartNumber);
    try {
      const to = path(session, '/complete');
      const done = this.#call('UPLOAD_COMPLETE_FAILED', 'POST', to, { parts }, signal);
      return (await unless(signal, done)) as Completed;
    } catch (error) {
      if ((error as UploadFailure).details?.status === 409) return { incomplete: error as UploadFailure };
      throw error;
    }
  }

  /** Frees the session. `again`: another try may succeed, but `later` only with other tokens. */
  async abort(session: SessionName): Promise<'done' | 'again' | 'later'> {
    const status = (await this.#reply('DELETE', path(session)))?.status ?? 0;
    if (!status || isPassing(status)) return 'again';
    // 404: ended or expired before. 409: completed, which stays.
    return status === 401 || status === 403 ? 'later' : 'done';
  }

  /** `undefined`: no answer came. */
  async #reply(...request: Parameters<Send>): Promise<Reply | undefined> {
    try {
      return await this.#send(...request);
    } catch (error) {
      if (error instanceof Unreachable) return undefined;
      throw error;
    }
  }

  /** The body of the answer. */
  async #call(code: UploadErrorCode, ...request: Parameters<Send>): Promise<unknown> {
    const reply = await this.#reply(...request);
    if (!reply) {
      throw new UploadFailure('NETWORK_ERROR', 'the service cannot be reached', undefined, { network: true });
    }
    if (reply.status >= 200 && reply.status < 300) return reply.body;
    throw refusal(reply, code);
  }
}

function path({ sessionId, key }: SessionName, more = ''): string {
  return `/s3/multipart/${encodeURIComponent(sessionId)}${more}?key=${encodeURIComponent(key)}`;
}

function batchPath(session: SessionName, parts: Part[]): string {
  const numbers = parts.map(({ number }) => number);
  return `${path(session, '/batch')}&partNumbers=${numbers}&sizes=${parts.map(({ size }) => size)}`;
}
