/** The real stack of `make up` or `make test`, where there is one. */

import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..', '..');
const FILE = process.env.LOGFERRY_LOCAL_ENV ?? join(ROOT, '.logferry', 'local.env');

export interface Stack {
  api: string;
  adminKey: string;
}

/** Values of the stack's file; one that it does not have is empty. */
export function readStack<Names extends string[]>(...names: Names): { [Name in keyof Names]: string } {
  const lines = existsSync(FILE) ? readFileSync(FILE, 'utf8').split('\n') : [];
  const value = (name: string) => lines.find((line) => line.startsWith(`${name}=`))?.slice(name.length + 1);
  return names.map((name) => value(name) ?? '') as { [Name in keyof Names]: string };
}

/** `null` without a stack; skip then with [`NO_STACK`]. */
export function stack(): Stack | null {
  const [api, adminKey] = readStack('API_URL', 'ADMIN_KEY');
  return api && adminKey ? { api: api.replace(/\/$/, ''), adminKey } : null;
}

export const NO_STACK = 'needs the local stack: `make up`, or LOGFERRY_LOCAL_ENV';

/** A new app: its key, and a way to call the API with it. */
export class App {
  readonly stack: Stack;
  readonly id: string;
  readonly key: string;

  private constructor(stack: Stack, id: string, key: string) {
    this.stack = stack;
    this.id = id;
    this.key = key;
  }

  static async create(stack: Stack): Promise<App> {
    const id = `web-${Date.now().toString(36)}-${Math.floor(Math.random() * 1e9).toString(36)}`;
    const headers = { 'x-admin-key': stack.adminKey, 'content-type': 'application/json' };
    const body = JSON.stringify({ app_id: id, name: 'browser tests' });
    const answer = await fetch(`${stack.api}/apps`, { method: 'POST', headers, body });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`POST /apps: ${answer.status} ${text}`);
    const { data } = JSON.parse(text) as { data: { api_key: string } };
    return new App(stack, id, data.api_key);
  }

  /** One that is registered already. */
  static of(stack: Stack, id: string, key: string): App {
    return new App(stack, id, key);
  }

  /** The answer's `data`. */
  async call<T>(method: string, path: string, body?: unknown): Promise<T> {
    const headers = { 'x-api-key': this.key, 'content-type': 'application/json' };
    const init: RequestInit = { method, headers };
    if (body !== undefined) init.body = JSON.stringify(body);
    const answer = await fetch(`${this.stack.api}${path}`, init);
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return (JSON.parse(text) as { data: T }).data;
  }
}
