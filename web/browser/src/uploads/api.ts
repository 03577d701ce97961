/** The API with the user's token, which the page gives. It is held in memory and nowhere else. */

import { json, type Http as Request } from '../host/http.ts';
import type { Http, Reply } from './ports.ts';

export type TokenReason = 'start' | 'expired';
/** Asks the page; `null` if it has none. */
export type GetToken = (reason: TokenReason) => Promise<string | null>;

export class Api implements Http {
  readonly #base: string;
  readonly #request: Request;
  readonly #getToken: GetToken;
  #token: Promise<string | null> | undefined;

  constructor(endpoint: string, request: Request, getToken: GetToken) {
    this.#base = endpoint.replace(/\/+$/, '');
    this.#request = request;
    this.#getToken = getToken;
  }

  async send(method: string, path: string, body?: unknown): Promise<Reply> {
    this.#token ??= this.#ask('start');
    const asked = this.#token;
    const reply = await this.#once(method, path, body, await asked);
    if (reply.status !== 401) return reply;
    // One new token for all requests that the old one failed.
    if (this.#token === asked || this.#token === undefined) this.#token = this.#ask('expired');
    const again = await this.#once(method, path, body, await this.#token);
    // The next request asks the page once more.
    if (again.status === 401) this.#token = undefined;
    return again;
  }

  async #ask(reason: TokenReason): Promise<string | null> {
    const token = await this.#getToken(reason);
    if (!token) this.#token = undefined;
    return token;
  }

  async #once(method: string, path: string, body: unknown, token: string | null): Promise<Reply> {
    if (!token) return { status: 401, body: { error: 'the page gave no token' } };
    const headers: Record<string, string> = { authorization: `Bearer ${token}` };
    if (body !== undefined) headers['content-type'] = 'application/json';
    const request = { method, url: this.#base + path, headers };
    const answer = await this.#request(
      body === undefined ? request : { ...request, body: JSON.stringify(body) },
    );
    return { status: answer.status, body: json(answer) ?? undefined, retryAfterMs: answer.retryAfterMs };
  }
}
