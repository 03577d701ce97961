/** Requests as a port: an answer with any status is an answer, everything else is an [`Unreachable`]. */

import { retryAfterMs } from './backoff.ts';
import type { Clock } from './clock.ts';

export interface HttpRequest {
  method: string;
  url: string;
  headers?: Record<string, string>;
  body?: string | ArrayBuffer | Blob | FormData | undefined;
  /** The browser finishes it after the page has gone; bodies under 64 KiB only. */
  keepalive?: boolean;
  /** Without an answer for so long it counts as failed (ms). */
  timeoutMs?: number;
}

export interface HttpAnswer {
  status: number;
  retryAfterMs: number | undefined;
  text: string;
}

export type Http = (request: HttpRequest) => Promise<HttpAnswer>;

/** No answer: offline, refused by CORS, cut, or too slow. Says nothing of the address, which may be signed. */
export class Unreachable extends Error {
  override name = 'Unreachable';
}

/** An answer's body as an object; `null` if it is none. */
export function json(answer: HttpAnswer): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(answer.text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}

/** The message of an error answer, in either of the API's shapes, without the address of anything. */
export function problem(answer: HttpAnswer): string {
  const body = json(answer);
  const error = body?.error;
  const nested =
    typeof error === 'object' && error !== null ? (error as { message?: unknown }).message : error;
  return typeof nested === 'string' ? nested.slice(0, 300) : `HTTP status ${answer.status}`;
}

/** On `fetch`. `timeoutMs` covers the whole exchange. */
export function fetchHttp(clock: Clock): Http {
  return async ({ method, url, headers = {}, body = null, keepalive = false, timeoutMs = 60_000 }) => {
    const abort = new AbortController();
    const cancel = clock.after(timeoutMs, () => abort.abort());
    try {
      const response = await fetch(url, {
        method,
        headers,
        body,
        keepalive,
        signal: abort.signal,
        credentials: 'omit',
        cache: 'no-store',
      });
      return {
        status: response.status,
        retryAfterMs: retryAfterMs(response.headers.get('retry-after'), clock.now()),
        text: await response.text(),
      };
    } catch {
      throw new Unreachable(
        abort.signal.aborted ? `no answer within ${Math.round(timeoutMs / 1000)} s` : 'no connection',
      );
    } finally {
      cancel();
    }
  };
}
