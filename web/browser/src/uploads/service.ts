/**
 * The routes of uploads, one method each and one try each: `Patience` repeats them.
 * They are those of Uppy Companion: see docs/api.md, "Uploading large files".
 */

import { Unreachable } from '../host/http.ts';
import { Passing, refusal, SessionGone, type UploadErrorCode, UploadFailure } from './errors.ts';
import type { Part, StoredPart } from './plan.ts';
import { type Http, type Reply, unless } from './ports.ts';

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
  readonly #http: Http;

  constructor(http: Http) {
    this.#http = http;
  }

  async create(session: NewSession): Promise<Created> {
    const reply = await this.#call('UPLOAD_INIT_FAILED', 'POST', '/s3/multipart', session);
    const { uploadId, key, partSize } = reply.body as { uploadId?: string; key?: string; partSize?: number };
    if (!uploadId || !key)
      throw new UploadFailure('UPLOAD_INIT_FAILED', 'the service named no upload session');
    return { sessionId: uploadId, key, partSize: partSize ?? 0 };
  }

  /** What S3 has of the session. */
  async parts(session: SessionName, signal: AbortSignal): Promise<StoredPart[]> {
    const reply = await this.#call('NETWORK_ERROR', 'GET', path(session), undefined, signal);
    const listed = reply.body as Array<{ PartNumber: number; ETag: string; Size: number }>;
    return listed.map((part) => ({ number: part.PartNumber, etag: part.ETag, size: part.Size }));
  }

  /** A URL for each part, good for 15 minutes. */
  async sign(session: SessionName, parts: Part[], signal?: AbortSignal): Promise<Map<number, string>> {
    const list = (values: number[]) => values.join(',');
    const query = `&partNumbers=${list(parts.map((part) => part.number))}&sizes=${list(parts.map((part) => part.size))}`;
    const reply = await this.#call(
      'CHUNK_UPLOAD_FAILED',
      'GET',
      path(session, '/batch') + query,
      undefined,
      signal,
    );
    const { presignedUrls } = reply.body as { presignedUrls: Record<string, string> };
    return new Map(Object.entries(presignedUrls).map(([number, url]) => [Number(number), url]));
  }

  /** Whether the service answers at all; signing asks nothing of S3, so it costs the least. */
  async reachable(session: SessionName, part: Part, signal: AbortSignal): Promise<boolean> {
    const query = `&partNumbers=${part.number}&sizes=${part.size}`;
    try {
      await unless(signal, this.#http.send('GET', path(session, '/batch') + query));
      return true;
    } catch (error) {
      if (error instanceof Unreachable) return false;
      throw error;
    }
  }

  /** `null`: S3 lacks parts of the list or has others (409). */
  async complete(
    session: SessionName,
    etags: ReadonlyMap<number, string>,
    signal: AbortSignal,
  ): Promise<Completed | { incomplete: UploadFailure }> {
    const parts = [...etags].map(([PartNumber, ETag]) => ({ PartNumber, ETag }));
    parts.sort((one, other) => one.PartNumber - other.PartNumber);
    try {
      const reply = await this.#call(
        'UPLOAD_COMPLETE_FAILED',
        'POST',
        path(session, '/complete'),
        { parts },
        signal,
      );
      return reply.body as Completed;
    } catch (error) {
      if (error instanceof UploadFailure && error.details?.status === 409) return { incomplete: error };
      throw error;
    }
  }

  /** Frees the session. `true`: it has ended, by this or before. */
  async abort(session: SessionName): Promise<boolean> {
    let reply: Reply;
    try {
      reply = await this.#http.send('DELETE', path(session));
    } catch (error) {
      if (error instanceof Unreachable) return false;
      throw error;
    }
    // 404: ended or expired before. 409: completed, which stays.
    return reply.status < 300 || reply.status === 404 || reply.status === 409;
  }

  async #call(
    code: UploadErrorCode,
    method: string,
    to: string,
    body?: unknown,
    signal?: AbortSignal,
  ): Promise<Reply> {
    let reply: Reply;
    try {
      const sent = this.#http.send(method, to, body);
      reply = await (signal ? unless(signal, sent) : sent);
    } catch (error) {
      if (!(error instanceof Unreachable)) throw error;
      throw new Passing(
        new UploadFailure('NETWORK_ERROR', `the service cannot be reached: ${error.message}`),
        true,
      );
    }
    if (reply.status >= 200 && reply.status < 300) return reply;
    const refused = refusal(reply, code);
    // Only a named session can be gone; a create that is 404 has the wrong endpoint.
    if (refused instanceof SessionGone && to === '/s3/multipart') {
      throw new UploadFailure(code, 'the endpoint has no upload routes', { status: 404 });
    }
    throw refused;
  }
}

function path(session: SessionName, more = ''): string {
  return `/s3/multipart/${encodeURIComponent(session.sessionId)}${more}?key=${encodeURIComponent(session.key)}`;
}
