/**
 * Logferry's API, S3 and the site of the page under test in one process, with faults on demand. The API and
 * S3 have an origin of their own, so that every request is cross-origin as in production.
 */

import { readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { logRoutes } from './log-routes.ts';
import { uploadRoutes } from './upload-routes.ts';

const PACKAGE = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const MIME: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
};

/** What a request asks for: the unit that faults are set on. */
export type Op =
  | 'grant' // POST /presigned-url
  | 'status' // GET /presigned-url?key=
  | 'put' // PUT of a log file
  | 'form' // POST of a log file as a form
  | 'create' // POST /s3/multipart
  | 'list' // GET /s3/multipart/{id}
  | 'batch' // GET /s3/multipart/{id}/batch
  | 'sign' // GET /s3/multipart/{id}/{part}
  | 'part' // PUT of a part
  | 'complete'
  | 'abort'
  | 'other';

export type Fault =
  | { delayMs: number }
  /** The connection is closed before anything is stored. */
  | 'cut'
  /** Everything is done, and the connection is closed instead of an answer. */
  | 'lost-answer'
  /** The same, a while after everything is done. */
  | { lostAfterMs: number }
  | { status: number; headers?: Record<string, string>; body?: string }
  /** A 200 whose ETag scripts cannot read. */
  | 'no-etag';

export interface Call {
  op: Op;
  method: string;
  url: URL;
  headers: IncomingMessage['headers'];
  body: Buffer;
  bodyBytes: number;
  /** The object's key, where the request names one. */
  key: string | undefined;
  /** What was answered; 0: the connection was closed. */
  status: number;
  startedMs: number;
  endedMs: number;
}

export interface Reply {
  status: number;
  headers?: Record<string, string>;
  body?: string | Buffer;
}

export interface StoredObject {
  body: Buffer;
  contentType: string;
  /** How many times the key was written: 2 or more would be ingested twice. */
  versions: number;
}

/** Answers what it knows; `null` leaves the request to the next. */
export type Routes = (server: FaultServer, call: Call) => Reply | null;

export class FaultServer {
  readonly calls: Call[] = [];
  readonly objects = new Map<string, StoredObject>();
  /** Paths that preflights asked about. */
  readonly preflights: string[] = [];
  /** Tokens that are refused with 401; every other is good. */
  readonly badTokens = new Set<string>();
  /** How long a signed URL works (ms). */
  urlLifetimeMs = 300_000;
  /** Counts the bytes of parts instead of keeping them: for files larger than the memory. */
  discardParts = false;
  /** Answers of the site by path, in place of the file. */
  readonly site_ = new Map<string, Reply>();
  /** Requests under way, and the most at once, by op. */
  readonly open = new Map<Op, number>();
  readonly mostOpen = new Map<Op, number>();
  readonly #faults: { op: Op; fault: Fault; times: number; skip: number }[] = [];
  #api!: Server;
  #site!: Server;

  static async start(): Promise<FaultServer> {
    const server = new FaultServer();
    server.#api = createServer((request, response) => void server.#answer(request, response));
    server.#site = createServer((request, response) => void server.#serve(request, response));
    await Promise.all([listen(server.#api), listen(server.#site)]);
    return server;
  }

  get api(): string {
    return `http://127.0.0.1:${port(this.#api)}`;
  }

  /** `localhost`, so that it is another site than the API. */
  get site(): string {
    return `http://localhost:${port(this.#site)}`;
  }

  /** Sets a fault on the next `times` requests of `op`, after `skip` that go well. */
  fault(op: Op, fault: Fault, times = 1, skip = 0): void {
    this.#faults.push({ op, fault, times, skip });
  }

  clearFaults(): void {
    this.#faults.length = 0;
  }

  count(op: Op): number {
    return this.calls.filter((call) => call.op === op).length;
  }

  of(op: Op): Call[] {
    return this.calls.filter((call) => call.op === op);
  }

  async close(): Promise<void> {
    for (const server of [this.#api, this.#site]) {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    }
  }

  #take(op: Op): Fault | undefined {
    const fault = this.#faults.find((fault) => fault.op === op && fault.times > 0);
    if (!fault) return undefined;
    if (fault.skip > 0) {
      fault.skip -= 1;
      return undefined;
    }
    fault.times -= 1;
    return fault.fault;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', this.api);
    const method = request.method ?? 'GET';
    const cors: Record<string, string> = {
      // A request on a fresh connection: Chromium sends one again by itself if a reused one breaks.
      connection: 'close',
      'access-control-allow-origin': '*',
      'access-control-expose-headers': 'ETag, Retry-After',
    };
    if (method === 'OPTIONS') {
      this.preflights.push(url.pathname);
      response.writeHead(204, {
        ...cors,
        'access-control-allow-methods': 'GET, HEAD, POST, PUT, DELETE',
        'access-control-allow-headers': request.headers['access-control-request-headers'] ?? '*',
        'access-control-max-age': '600',
      });
      response.end();
      return;
    }
    const op = opOf(method, url);
    this.#count(op, 1);
    const call: Call = {
      op,
      method,
      url,
      headers: request.headers,
      body: Buffer.alloc(0),
      bodyBytes: 0,
      key: undefined,
      status: 0,
      startedMs: Date.now(),
      endedMs: 0,
    };
    this.calls.push(call);
    const fault = this.#take(op);
    try {
      if (fault === 'cut') {
        request.socket.destroy();
        return;
      }
      if (op === 'part' && this.discardParts) call.bodyBytes = await countOf(request);
      else call.body = await bodyOf(request);
      call.bodyBytes ||= call.body.length;
      if (typeof fault === 'object' && 'delayMs' in fault) await pause(fault.delayMs);
      if (typeof fault === 'object' && 'status' in fault) {
        return this.#reply(call, response, cors, fault);
      }
      const routes: Routes[] = [logRoutes, uploadRoutes];
      let reply: Reply = error(404, 'NOT_FOUND', 'no such route');
      for (const route of routes) {
        const found = route(this, call);
        if (found) {
          reply = found;
          break;
        }
      }
      const lostAfterMs = typeof fault === 'object' && 'lostAfterMs' in fault ? fault.lostAfterMs : undefined;
      if (lostAfterMs !== undefined) await pause(lostAfterMs);
      if (fault === 'lost-answer' || lostAfterMs !== undefined) {
        request.socket.destroy();
        return;
      }
      if (fault === 'no-etag') cors['access-control-expose-headers'] = 'Retry-After';
      this.#reply(call, response, cors, reply);
    } catch {
      // The client went away in the middle of its body.
      request.socket.destroy();
    } finally {
      call.endedMs = Date.now();
      this.#count(op, -1);
    }
  }

  #reply(call: Call, response: ServerResponse, cors: Record<string, string>, reply: Reply): void {
    call.status = reply.status;
    response.writeHead(reply.status, { ...cors, ...reply.headers });
    response.end(reply.body);
  }

  #count(op: Op, by: number): void {
    const open = (this.open.get(op) ?? 0) + by;
    this.open.set(op, open);
    this.mostOpen.set(op, Math.max(open, this.mostOpen.get(op) ?? 0));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', this.site);
    const set = this.site_.get(url.pathname);
    if (set) {
      response.writeHead(set.status, set.headers);
      response.end(set.body);
      return;
    }
    const path = normalize(url.pathname);
    const folder = path.startsWith('/dist/') ? PACKAGE : join(PACKAGE, 'test', 'support');
    try {
      const body = await readFile(join(folder, path));
      const headers: Record<string, string> = {
        'content-type': MIME[extname(path)] ?? 'application/octet-stream',
      };
      const csp = url.searchParams.get('csp');
      if (csp) headers['content-security-policy'] = csp;
      response.writeHead(200, headers);
      response.end(body);
    } catch {
      response.writeHead(404, { 'content-type': 'text/plain' });
      response.end('not found');
    }
  }
}

/** An error in the API's envelope. */
export function error(status: number, code: string, message: string): Reply {
  return reply(status, { success: false, error: { code, message } });
}

export function reply(status: number, body: unknown, headers: Record<string, string> = {}): Reply {
  return { status, headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(body) };
}

function opOf(method: string, url: URL): Op {
  const path = url.pathname;
  if (path === '/presigned-url') return method === 'GET' ? 'status' : 'grant';
  if (path.startsWith('/bucket')) {
    if (url.searchParams.has('partNumber')) return 'part';
    return method === 'POST' ? 'form' : 'put';
  }
  const [first, second, id, last] = path.split('/').slice(1);
  if (first !== 's3' || second !== 'multipart') return 'other';
  if (!id) return 'create';
  if (last === 'complete') return 'complete';
  if (last === 'batch') return 'batch';
  if (last) return 'sign';
  return method === 'DELETE' ? 'abort' : 'list';
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

async function countOf(request: IncomingMessage): Promise<number> {
  let bytes = 0;
  for await (const chunk of request) bytes += (chunk as Buffer).length;
  return bytes;
}

const pause = (ms: number) => new Promise((done) => setTimeout(done, ms));
const port = (server: Server) => (server.address() as AddressInfo).port;
const listen = (server: Server) =>
  new Promise<void>((done) => {
    server.listen(0, '127.0.0.1', done);
  });
