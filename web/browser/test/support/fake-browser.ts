/**
 * Pages of one browser for unit tests: each a `LogClient` with a host, a window and a clock that the test moves.
 * Nothing in it depends on the real clock, so a run is the same each time.
 */

import { sleep } from '../../src/host/clock.ts';
import type { Message, Port } from '../../src/host/port.ts';
import { LogClient } from '../../src/logs/client.ts';
import { ENDPOINT, FakePrimary, FakeWorld, ports } from './fake-service.ts';

/** What a page has of its browser, each page its own but for the storage. */
const globals = globalThis as unknown as Record<string, unknown>;

/** Timers of the client are for hosts that do not answer: here they do. */
globals.setTimeout = () => 0;
globals.MessageChannel = class {
  readonly port1: Port;
  readonly port2: Port;
  constructor() {
    const [near, far] = ports();
    const more = { addEventListener() {}, close() {} };
    [this.port1, this.port2] = [Object.assign(near, more), Object.assign(far, more)];
  }
};
globals.Blob = class {
  readonly content: string;
  constructor(parts: string[]) {
    this.content = parts.join('');
  }
  get size(): number {
    return Buffer.byteLength(this.content);
  }
};
globals.FormData = class extends Map<string, unknown> {
  append(name: string, value: unknown): void {
    this.set(name, value);
  }
};

/** A form as a page sent it. */
export interface Form {
  key: string;
  text: string;
}

export interface Tab {
  world: FakeWorld;
  client: LogClient;
  window: EventTarget;
  /** What the host has said while the page was in the back/forward cache; `null`: it is not there. */
  unheard: Message[] | null;
  hear(message: Message): void;
}

export const MEETING = { meetingId: 'm-1', attendeeId: 'a-1' };

export class FakeBrowser {
  readonly primary = new FakePrimary();
  /** Whether a lock of the origin is kept; without it two runs may be under way, as after one was stolen. */
  locks = true;
  flushIntervalMs = 20_000;
  /** What becomes of a form that is sent; `false`: the browser does not take it. */
  onForm: (form: Form) => boolean = (form) => this.arrive(form);
  readonly forms: Form[] = [];
  /** Keys that got a second content. */
  readonly twice: string[] = [];
  #first: FakeWorld | undefined;
  #holder: FakeWorld | null = null;

  constructor() {
    const hidden = (value: unknown) => ({ value, enumerable: false });
    const storage: Record<string, unknown> = {};
    globals.localStorage = Object.defineProperties(storage, {
      getItem: hidden((name: string) => storage[name] ?? null),
      setItem: hidden((name: string, text: string) => {
        storage[name] = text;
      }),
      removeItem: hidden((name: string) => delete storage[name]),
    });
    Object.assign(navigator, {
      sendBeacon: (_url: string, body: Map<string, unknown>) => {
        const form = {
          key: String(body.get('key')),
          text: (body.get('file') as { content: string }).content,
        };
        this.forms.push(form);
        return this.onForm(form);
      },
    });
  }

  /** The world that all pages share the clock and the service of. */
  get world(): FakeWorld {
    this.#first ??= new FakeWorld(this.primary);
    return this.#first;
  }

  /** A form reaches S3, which makes another version of a key that exists. */
  arrive({ key, text }: Form): true {
    const { objects } = this.world;
    if (objects.has(key)) this.twice.push(key);
    else objects.set(key, text);
    return true;
  }

  /** Every stored line, in order of its number. */
  get lines(): string[] {
    return this.world.lines.sort((a, b) => Number(a.split(' ')[1]) - Number(b.split(' ')[1]));
  }

  /** Opens a page with a host of its own. `prepare` is called before the host does anything. */
  async open(prepare: (world: FakeWorld) => void = () => {}): Promise<Tab> {
    // The database of a host that has died takes nothing more.
    const own: FakePrimary = new Proxy(this.primary, {
      get(target, name) {
        const value = Reflect.get(target, name, target);
        if (typeof value !== 'function') return value;
        return (...all: unknown[]) => (world.halted ? new Promise(() => {}) : value.apply(target, all));
      },
    });
    const world: FakeWorld = new FakeWorld(own, this.world);
    world.exclusive = (f) => this.#exclusive(world, f);
    prepare(world);
    const window = new EventTarget();
    [globals.window, globals.document] = [window, new EventTarget()];
    Date.now = () => world.clock.now();
    const tab: Partial<Tab> = { world, window, unheard: null };
    const main = async () => (port: Port) => {
      tab.hear = port.postMessage.bind(port);
      port.postMessage = (message) => (tab.unheard ? tab.unheard.push(message) : tab.hear?.(message));
      world.service.serve(port);
    };
    const { flushIntervalMs } = this;
    const options = { autoUpload: true, flushIntervalMs, format: 'text' as const };
    const config = { presignedUrlEndpoint: ENDPOINT, ...MEETING, ...options };
    tab.client = new LogClient(config, { main }, 'main', () => 'good');
    await world.clock.advance(0);
    return tab as Tab;
  }

  /** A lock that ends with its host. */
  async #exclusive<T>(world: FakeWorld, f: () => Promise<T>): Promise<T> {
    while (this.locks && this.#holder && !this.#holder.halted) await sleep(world.clock, 50);
    if (world.halted) return new Promise(() => {});
    this.#holder = world;
    try {
      return await f();
    } finally {
      if (this.#holder === world) this.#holder = null;
    }
  }
}

/** The page is left; with `persisted` it may come back, and hears nothing until then. */
export function leave(tab: Tab, persisted = false): void {
  tab.window.dispatchEvent(Object.assign(new Event('pagehide'), { persisted }));
  if (persisted) tab.unheard ??= [];
}

export function comeBack(tab: Tab): void {
  tab.window.dispatchEvent(Object.assign(new Event('pageshow'), { persisted: true }));
  const unheard = tab.unheard ?? [];
  tab.unheard = null;
  for (const message of unheard) tab.hear(message);
}

/** Page and host end. */
export function close(tab: Tab): void {
  leave(tab);
  tab.world.halt();
}
