// Requests to the API that serves this console, at the same origin.

import { parse } from './exact.ts';
import { type Credential, headersOf } from './session.ts';
import type { Page } from './types.ts';

/** An answer that is an error, in the API's words. */
export class Problem extends Error {
  readonly status: number;
  readonly code: string;
  readonly field: string | undefined;
  readonly requestId: string | undefined;
  readonly retryAfterSecs: number | undefined;

  constructor(status: number, code: string, message: string, more: Partial<Problem> = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.field = more.field;
    this.requestId = more.requestId;
    this.retryAfterSecs = more.retryAfterSecs;
  }
}

/** Parameters of a request. `filters` are those of which a name may occur twice. */
export type Params = Record<string, string | number | boolean | undefined | [string, string][]>;

/** The API's URL for a page of the console: beside `console/`, below `v1/`. */
export function apiBase(page: string): URL {
  const above = new URL('..', new URL('.', page));
  return above.pathname.endsWith('/v1/') ? above : new URL('v1/', above);
}

export class Client {
  readonly base: URL;
  private readonly headers: Record<string, string>;
  private readonly refused: () => void;

  /** `refused` is called when the API no longer accepts the credential. */
  constructor(base: URL, credential: Credential, refused: () => void = () => {}) {
    this.base = base;
    this.headers = headersOf(credential);
    this.refused = refused;
  }

  async list<T>(path: string, params: Params = {}, signal?: AbortSignal): Promise<Page<T>> {
    return (await this.ask('GET', path, params, undefined, signal)) as Page<T>;
  }

  async get<T>(path: string, params: Params = {}, signal?: AbortSignal): Promise<T> {
    return ((await this.ask('GET', path, params, undefined, signal)) as { data: T }).data;
  }

  async send<T>(
    method: 'POST' | 'PATCH' | 'DELETE',
    path: string,
    body?: unknown,
    params: Params = {},
  ): Promise<T> {
    return ((await this.ask(method, path, params, body)) as { data: T }).data;
  }

  /** Whether something public is there; without the credential. */
  async exists(path: string, signal?: AbortSignal): Promise<boolean> {
    const init: RequestInit = { method: 'HEAD', credentials: 'omit', referrerPolicy: 'no-referrer' };
    if (signal) init.signal = signal;
    return (await fetch(new URL(path, this.base), init)).ok;
  }

  private async ask(method: string, path: string, params: Params, body?: unknown, signal?: AbortSignal) {
    const url = new URL(path, this.base);
    for (const [name, value] of Object.entries(params)) {
      if (Array.isArray(value)) for (const [one, text] of value) url.searchParams.append(one, text);
      else if (value !== undefined && value !== '') url.searchParams.set(name, String(value));
    }
    const init: RequestInit = {
      method,
      headers: body === undefined ? this.headers : { ...this.headers, 'Content-Type': 'application/json' },
      cache: 'no-store',
      credentials: 'omit',
      referrerPolicy: 'no-referrer',
    };
    if (body !== undefined) init.body = JSON.stringify(body);
    if (signal) init.signal = signal;
    let response: Response;
    try {
      response = await fetch(url, init);
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new Problem(0, 'NETWORK', 'the API cannot be reached; check the connection and try again');
    }
    const read: (text: string) => unknown = path.startsWith('logs') ? parse : JSON.parse;
    const answer = await response
      .text()
      .then(read)
      .catch(() => undefined);
    if (response.ok && answer !== undefined) return answer;
    if (response.status === 401) this.refused();
    throw refusal(response, answer);
  }
}

/** What went wrong, whatever was thrown. */
export function problemOf(error: unknown): Problem {
  return error instanceof Problem ? error : new Problem(0, 'CONSOLE', String(error));
}

/** API Gateway's own errors have no envelope: `{"message": …}`. */
function refusal(response: Response, answer: unknown): Problem {
  const said = (answer ?? {}) as {
    error?: { code?: string; message?: string; details?: { field?: string } };
    message?: string;
    request_id?: string;
  };
  const retryAfter = Number(response.headers.get('Retry-After') ?? Number.NaN);
  const message = said.error?.message ?? said.message ?? `the API answered with status ${response.status}`;
  const more: { -readonly [K in keyof Problem]?: Problem[K] } = {};
  if (said.error?.details?.field !== undefined) more.field = said.error.details.field;
  if (said.request_id !== undefined) more.requestId = said.request_id;
  if (Number.isFinite(retryAfter)) more.retryAfterSecs = retryAfter;
  return new Problem(response.status, said.error?.code ?? 'UNKNOWN', message, more);
}
