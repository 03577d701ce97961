/** The three requests of the log client, and what their answers mean for it. */

import { type Http, type HttpAnswer, json, problem, Unreachable } from '../host/http.ts';
import { reasonOf } from './error.ts';
import type { Batch } from './store.ts';
import type { Failure, Scope } from './types.ts';

/** Bodies that the browser finishes after the page has gone (bytes); its limit is 64 KiB for all of them. */
const KEEPALIVE_BYTES = 60_000;

export interface Grant {
  key: string;
  url: string;
  headers: Record<string, string>;
  expiresInMs: number;
  maxBytes: number | undefined;
  /** The form that takes the file, too. */
  post: { url: string; fields: Record<string, string> } | undefined;
}

export interface Status {
  received: boolean;
  status: string | undefined;
  counts: Record<string, number> | undefined;
}

/** An answer that is none: what to say, and whether a retry can change it. */
export class Refusal extends Error {
  readonly failure: Failure;
  readonly retry: boolean;
  readonly status: number;

  constructor(failure: Failure, retry: boolean, status: number) {
    super(failure.message);
    this.failure = failure;
    this.retry = retry;
    this.status = status;
  }
}

export interface Target extends Scope {
  /** The URL of `POST /presigned-url`. */
  endpoint: string;
}

export async function requestGrant(
  http: Http,
  target: Target,
  token: string,
  length?: number,
): Promise<Grant> {
  const { meetingId, attendeeId, endpoint } = target;
  const answer = await http({
    method: 'POST',
    url: endpoint,
    headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' },
    body: JSON.stringify({ meetingId, attendeeId, contentLength: length }),
    keepalive: true,
  });
  if (answer.status !== 200) throw refusal(answer, 'the service refuses to sign an upload');
  const body = json(answer);
  const url = body?.presignedUrl;
  if (typeof url !== 'string') throw new Refusal(unreadable, true, answer.status);
  const key = typeof body?.key === 'string' ? body.key : new URL(url).pathname;
  const headers = body?.headers as Record<string, string> | undefined;
  return {
    key,
    url,
    headers: headers ?? { 'Content-Type': 'application/gzip' },
    // At least long enough to be used once.
    expiresInMs: Math.max(1, typeof body?.expiresIn === 'number' ? body.expiresIn : 300) * 1000,
    maxBytes: typeof body?.maxBytes === 'number' ? body.maxBytes : undefined,
    post: body?.post as Grant['post'],
  };
}

/** `null` where the service does not know the key, or does not have the route. */
export async function requestStatus(
  http: Http,
  target: Target,
  token: string,
  key: string,
): Promise<Status | null> {
  const url = new URL(target.endpoint);
  url.searchParams.set('key', key);
  const answer = await http({
    method: 'GET',
    url: url.href,
    headers: { Authorization: `Bearer ${token}` },
  });
  if (answer.status === 404 || answer.status === 405) return null;
  if (answer.status !== 200) throw refusal(answer, 'the service does not tell what became of a file');
  const body = json(answer);
  return {
    received: body?.received === true,
    status: typeof body?.status === 'string' ? body.status : undefined,
    counts: body?.counts as Record<string, number> | undefined,
  };
}

/** Time for a file at 256 kbit/s, and a minute: `fetch` does not tell how far an upload is. */
export const putTimeoutMs = (bytes: number): number => 60_000 + bytes / 32;

export type Put = 'stored' | 'expired';

/** `If-None-Match: *` makes a second PUT of the same key a 412, so a lost answer can be asked for again. */
export async function putFile(http: Http, batch: Batch, data: ArrayBuffer): Promise<Put> {
  const answer = await http({
    method: 'PUT',
    url: batch.url ?? '',
    headers: { ...batch.headers, 'If-None-Match': '*' },
    body: data,
    keepalive: data.byteLength < KEEPALIVE_BYTES,
    timeoutMs: putTimeoutMs(data.byteLength),
  });
  if (answer.status === 200 || answer.status === 412) return 'stored';
  if (answer.status === 403) return 'expired';
  throw refusal(answer, 'S3 refuses the file');
}

const unreadable: Failure = {
  code: 'SERVER',
  message: 'the answer has no presignedUrl',
};

function refusal(answer: HttpAnswer, what: string): Refusal {
  const { status } = answer;
  const message = `${what}: ${problem(answer)}`;
  const failure = (code: Failure['code']): Failure =>
    answer.retryAfterMs === undefined ? { code, message } : { code, message, afterMs: answer.retryAfterMs };
  if (status === 401) return new Refusal(failure('AUTH_FAILED'), true, status);
  if (status === 429) return new Refusal(failure('THROTTLED'), true, status);
  if (status === 408 || status === 409 || status >= 500) return new Refusal(failure('SERVER'), true, status);
  return new Refusal(failure('REFUSED'), false, status);
}

/** Whatever was thrown, as a failure. */
export function failureOf(error: unknown): Failure {
  if (error instanceof Refusal) return error.failure;
  if (error instanceof Unreachable) return { code: 'NETWORK', message: error.message };
  return { code: 'STORAGE', message: reasonOf(error) };
}
