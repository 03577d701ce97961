/** A log service on a clock that the test moves, with an API and S3 that the test answers for. */

import { type Clock, sleep } from '../../src/host/clock.ts';
import { type HttpAnswer, type HttpRequest, Unreachable } from '../../src/host/http.ts';
import type { Message, Port } from '../../src/host/port.ts';
import { firstWhole, type Held, isHeld } from '../../src/logs/held.ts';
import { firstRows, MemoryStore } from '../../src/logs/memory-store.ts';
import { LogService } from '../../src/logs/service.ts';
import type { StoredRow, Usage } from '../../src/logs/store.ts';
import type { WorkerConfig } from '../../src/logs/types.ts';
import { ulidTime } from './log-routes.ts';

export class FakeClock implements Clock {
  #now = Date.parse('2026-01-01T00:00:00Z');
  #timers: { at: number; f: () => void }[] = [];
  random = (): number => 0.5;

  now(): number {
    return this.#now;
  }

  after(ms: number, f: () => void): () => void {
    const timer = { at: this.#now + ms, f };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  /** Lets `ms` pass: every timer at its time, and what follows from it before the next. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    await settle();
    for (;;) {
      const [next] = this.#timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at);
      if (!next) break;
      this.#timers = this.#timers.filter((other) => other !== next);
      this.#now = Math.max(this.#now, next.at);
      next.f();
      await settle();
    }
    this.#now = end;
  }
}

/** What is to run in a later task and has not. */
let waiting = 0;

/** Runs `f` in a later task, before the clock moves. */
function later(f: () => void): void {
  waiting += 1;
  setImmediate(() => {
    waiting -= 1;
    f();
  });
}

/** Lets everything happen that waits for nothing but promises and messages. */
const settle = async (): Promise<void> => {
  for (let quiet = 0; quiet < 5; quiet += 1) {
    await new Promise((done) => setImmediate(done));
    if (waiting) quiet = 0;
  }
};

/** Two ports whose messages arrive before the clock moves. */
export function ports(): [Port, Port] {
  const make = (other: () => Port): Port => ({
    onmessage: null,
    postMessage(message) {
      const data = structuredClone(message);
      later(() => other().onmessage?.({ data }));
    },
  });
  const near: Port = make(() => far);
  const far: Port = make(() => near);
  return [near, far];
}

/** IndexedDB's part, in memory. */
export class FakePrimary extends MemoryStore {
  /** What every method fails with, if anything. */
  broken: Error | null = null;
  #held: Held[] = [];

  async probe(): Promise<void> {
    if (this.broken) throw this.broken;
  }

  override async append(...args: Parameters<MemoryStore['append']>): Promise<void> {
    if (this.broken) throw this.broken;
    return super.append(...args);
  }

  override async rows(scope: string, maxBytes: number): Promise<StoredRow[]> {
    const free = this.#all.filter((row) => row.scope === scope && !isHeld(row, this.#held));
    return firstRows(free, maxBytes);
  }

  override async seal(...args: Parameters<MemoryStore['seal']>): Promise<boolean> {
    const [ids] = args;
    if (this.#all.some((row) => ids.includes(row.id) && isHeld(row, this.#held))) return false;
    return super.seal(...args);
  }

  /** Rows that a form may have are not dropped. */
  override async drop(...args: Parameters<MemoryStore['drop']>): Promise<number> {
    const [scope, entries, bytes, ...rest] = args;
    const { rows, dropped } = this.takeRows();
    const held = rows.filter((row) => isHeld(row, this.#held));
    this.returnRows(
      rows.filter((row) => !held.includes(row)),
      dropped,
    );
    const sum = (of: 'n' | 'bytes') => held.reduce((sum, row) => sum + row[of], 0);
    const count = await super.drop(scope, entries - sum('n'), bytes - sum('bytes'), ...rest);
    const left = this.takeRows();
    this.returnRows([...held, ...left.rows], left.dropped);
    return count;
  }

  async hold(what: Omit<Held, 'from'>): Promise<number | undefined> {
    if (this.#held.some(({ tab }) => tab === what.tab)) return undefined;
    const from = firstWhole(this.#all.filter(({ scope, tab }) => scope === what.scope && tab === what.tab));
    if (from !== undefined) this.#held.push({ ...what, from });
    return from;
  }

  async held(scope: string): Promise<Held[]> {
    return this.#held.filter((held) => held.scope === scope);
  }

  async release(tab: string, which: (held: Held) => boolean): Promise<Held | undefined> {
    const found = this.#held.find((held) => held.tab === tab && which(held));
    this.#held = this.#held.filter((held) => held !== found);
    return found;
  }

  async arrived(held: Held): Promise<void> {
    if (!this.#held.some(({ key }) => key === held.key)) return;
    this.#held = this.#held.filter(({ key }) => key !== held.key);
    const { rows, dropped } = this.takeRows();
    this.returnRows(
      rows.filter((row) => !isHeld(row, [held])),
      dropped,
    );
    const nothing = { scope: held.scope, format: 'text' as const, tab: held.tab, maxRowLines: 1, nowMs: 0 };
    await super.append({ ...nothing, groups: [{ group: Number.MAX_SAFE_INTEGER, lines: [] }] });
  }

  get #all(): StoredRow[] {
    const { rows, dropped } = this.takeRows();
    this.returnRows(rows, dropped);
    return rows;
  }

  async adopt(rows: StoredRow[], dropped: Map<string, Usage['dropped']>): Promise<void> {
    this.returnRows(rows, dropped);
  }

  async forgetTabs(): Promise<void> {}

  close(): void {}
}

let keys = 0;

export const ENDPOINT = 'https://api.test/presigned-url';

export class FakeWorld {
  readonly clock: FakeClock;
  readonly primary: FakePrimary;
  readonly requests: (HttpRequest & { at: number })[] = [];
  /** Objects by key, as text. */
  readonly objects: Map<string, string>;
  /** Which meeting a key was granted for. */
  readonly meetings: Map<string, string>;
  /** Answers in place of the service's own. */
  answer: (request: HttpRequest) => HttpAnswer | 'offline' | null = () => null;
  /** How long a request takes. */
  latencyMs: (request: HttpRequest) => number = () => 0;
  /** How long it takes to compress a file. */
  compressMs: () => number = () => 0;
  /** How much the browser's clock is before the service's (ms); with it keys tell the service's time. */
  fastMs = 0;
  readonly service: LogService;
  halted = false;

  /** With `earlier`, the same machine and service after the host has died. */
  constructor(primary = new FakePrimary(), earlier?: FakeWorld) {
    this.primary = primary;
    this.clock = earlier?.clock ?? new FakeClock();
    this.objects = earlier?.objects ?? new Map();
    this.meetings = earlier?.meetings ?? new Map();
    this.service = new LogService({
      primary,
      clock: this.clock,
      http: (request) => this.#http(request),
      exclusive: (_name, f) => this.exclusive(f),
      compress: async (text) => {
        const ms = this.compressMs();
        if (ms > 0) await sleep(this.clock, ms);
        return new TextEncoder().encode(text).buffer as ArrayBuffer;
      },
    });
  }

  /** Without a lock: the worst that a stolen one leads to. */
  exclusive: <T>(f: () => Promise<T>) => Promise<T> = (f) => f();

  get lines(): string[] {
    return [...this.objects.values()].flatMap((text) => text.split('\n').filter((line) => line));
  }

  count(method: string): number {
    return this.requests.filter((request) => request.method === method).length;
  }

  /** The host's process ends: no request of it gets any further. */
  halt(): void {
    this.halted = true;
  }

  async #http(request: HttpRequest): Promise<HttpAnswer> {
    if (this.halted) return new Promise(() => {});
    this.requests.push({ ...request, at: this.clock.now() });
    const own = this.answer(request);
    const ms = this.latencyMs(request);
    if (ms > 0) await sleep(this.clock, ms);
    // What is under way when the host ends still arrives; the answer does not.
    const answer = own === 'offline' ? null : (own ?? this.#serve(request));
    if (this.halted) return new Promise(() => {});
    if (!answer) throw new Unreachable('no connection');
    return answer;
  }

  #serve(request: HttpRequest): HttpAnswer {
    if (request.method === 'POST') {
      keys += 1;
      const key = this.fastMs
        ? `${ulidTime(this.clock.now() - this.fastMs)}${String(keys).padStart(16, '0')}-logs.gz`
        : `key-${keys}`;
      this.meetings.set(key, JSON.parse(String(request.body)).meetingId);
      return ok({
        presignedUrl: `https://s3.test/${key}`,
        key,
        expiresIn: 300,
        maxBytes: 10 * 1024 * 1024,
        post: { url: 'https://s3.test', fields: { key } },
      });
    }
    if (request.method === 'GET') {
      const key = new URL(request.url).searchParams.get('key') ?? '';
      return ok({ key, received: this.objects.has(key), status: 'COMPLETED' });
    }
    const key = new URL(request.url).pathname.slice(1);
    if (this.objects.has(key)) return { status: 412, retryAfterMs: undefined, text: '' };
    this.objects.set(key, new TextDecoder().decode(request.body as ArrayBuffer));
    return ok({});
  }
}

export const ok = (body: unknown): HttpAnswer => ({
  status: 200,
  retryAfterMs: undefined,
  text: JSON.stringify(body),
});

/** A page that speaks to the service, and answers for tokens. */
export class FakePage {
  readonly received: Message[] = [];
  /** `undefined`: the page does not answer. */
  token: (scope: { meetingId: string }, reason: string) => string | null | undefined = () => 'good';
  readonly #port: Port;
  readonly #world: FakeWorld;
  #group = 0;

  constructor(world: FakeWorld) {
    const [near, far] = ports();
    this.#port = near;
    this.#world = world;
    near.onmessage = ({ data }) => {
      this.received.push(data);
      if (data.command !== 'TOKEN_NEEDED') return;
      const joinToken = this.token(data.scope, data.reason);
      if (joinToken !== undefined) this.send({ command: 'TOKEN', scope: data.scope, joinToken });
    };
    world.service.serve(far);
  }

  static async open(world: FakeWorld, config: Partial<WorkerConfig> = {}): Promise<FakePage> {
    const page = new FakePage(world);
    await page.start(config);
    return page;
  }

  async start(config: Partial<WorkerConfig>): Promise<void> {
    const all = {
      presignedUrlEndpoint: ENDPOINT,
      meetingId: 'm-1',
      attendeeId: 'a-1',
      tab: 'tab-1',
      ...config,
    };
    this.send({ command: 'LOG_WORKER_INITIALIZE', config: all });
    await this.messages('LOG_WORKER_READY');
  }

  send(message: Message): void {
    this.#port.postMessage(message);
  }

  log(...entries: string[]): void {
    this.#group += 1;
    this.send({ command: 'PUT_LOGS', tab: 'tab-1', group: this.#group, entries });
  }

  /** Waits for messages; the clock stands meanwhile. */
  async messages(command: string, count = 1): Promise<Message[]> {
    for (let n = 0; n < 200; n += 1) {
      const found = this.received.filter((message) => message.command === command);
      if (found.length >= count) return found;
      await this.#world.clock.advance(0);
    }
    throw new Error(`no ${command} among ${this.received.map((message) => message.command).join(', ')}`);
  }

  /** Everything that was posted has been stored. */
  async committed(): Promise<void> {
    await this.#world.clock.advance(60);
  }
}

/** Stores what a PUT has, by chance at once or half a minute later; no other PUT replaces it. */
export function storeWithoutAnswer(world: FakeWorld, request: HttpRequest, chance: () => number): 'offline' {
  const key = new URL(request.url).pathname.slice(1);
  const text = new TextDecoder().decode(request.body as ArrayBuffer);
  const store = () => {
    if (!world.objects.has(key)) world.objects.set(key, text);
  };
  if (chance() < 0.5) store();
  else world.clock.after(30_000, store);
  return 'offline';
}
