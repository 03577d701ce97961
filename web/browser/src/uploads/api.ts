/** The API with the user's token, which the page gives. It is held in memory and nowhere else. */

import { type Http, json } from '../host/http.ts';
import { type Reply, type Send, unless } from './ports.ts';

export type TokenReason = 'start' | 'expired';
/** Asks the page; `null` if it has none. */
export type GetToken = (reason: TokenReason) => Promise<string | null>;

/** The base URL of the API without its last slash. */
export const baseOf = (endpoint: string): string => endpoint.replace(/\/+$/, '');

export function authorized(endpoint: string, request: Http, getToken: GetToken): Send {
  let token: Promise<string | null> | undefined;

  const ask = async (reason: TokenReason) => {
    const given = await getToken(reason);
    if (!given) token = undefined;
    return given;
  };

  return async (method, path, body, signal) => {
    const once = async (asked: Promise<string | null>): Promise<Reply> => {
      const token = await unless(signal, asked);
      signal?.throwIfAborted();
      if (!token) return { status: 401, body: { error: 'the page gave no token' } };
      const answer = await request({
        method,
        url: baseOf(endpoint) + path,
        headers: {
          authorization: `Bearer ${token}`,
          ...(body ? { 'content-type': 'application/json' } : {}),
        },
        body: body ? JSON.stringify(body) : undefined,
      });
      return { status: answer.status, body: json(answer) ?? undefined, retryAfterMs: answer.retryAfterMs };
    };

    token ??= ask('start');
    const asked = token;
    const reply = await once(asked);
    if (reply.status !== 401) return reply;
    // One new token for all requests that the old one failed.
    if (!token || token === asked) token = ask('expired');
    const again = await once(token);
    // The next request asks the page once more.
    if (again.status === 401) token = undefined;
    return again;
  };
}
