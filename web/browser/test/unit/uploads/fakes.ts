/** A clock that jumps, a file without bytes, and a cloud in memory: the ports of the upload core. */

import { type Clock, sleep } from '../../../src/host/clock.ts';
import { Unreachable } from '../../../src/host/http.ts';
import { Pace, Slots } from '../../../src/uploads/pace.ts';
import type { Network, PartAnswer, PutPart, Reply } from '../../../src/uploads/ports.ts';
import type { UploadSettings } from '../../../src/uploads/protocol.ts';
import { UploadService } from '../../../src/uploads/service.ts';
import type { UploadRecord, UploadStore } from '../../../src/uploads/sessions.ts';

export const MIB = 1024 * 1024;

export class FakeClock implements Clock {
  #now = 1_000_000;
  #timers: { at: number; run: () => void }[] = [];

  now(): number {
    return this.#now;
  }

  after(ms: number, run: () => void): () => void {
    const timer = { at: this.#now + ms, run };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  random(): number {
    return 1;
  }

  /** Jumps from timer to timer until `done` settles. */
  async until<T>(done: Promise<T>): Promise<T> {
    let settled = false;
    const end = () => {
      settled = true;
    };
    done.then(end, end);
    for (let turns = 0; turns < 200_000; turns += 1) {
      await turn();
      if (settled) return done;
      this.#jump();
    }
    throw new Error('nothing settles');
  }

  /** Lets `ms` pass. */
  async pass(ms: number): Promise<void> {
    let passed = false;
    this.after(ms, () => {
      passed = true;
    });
    while (!passed) {
      await turn();
      this.#jump();
    }
    await turn();
  }

  #jump(): void {
    this.#timers.sort((one, other) => one.at - other.at);
    const next = this.#timers.shift();
    if (!next) return;
    this.#now = Math.max(this.#now, next.at);
    next.run();
  }
}

/** Lets all that is ready run. */
export async function turn(): Promise<void> {
  for (let round = 0; round < 3; round += 1) await new Promise((done) => setImmediate(done));
}

/** A file of a size; `broken` makes every read fail, as a change on disk does. */
export class FakeFile {
  readonly size: number;
  readonly name: string;
  readonly type = 'video/mp4';
  readonly lastModified = 1;
  broken = false;

  constructor(size: number, name = 'film.mp4') {
    this.size = size;
    this.name = name;
  }

  get file(): File {
    return this as unknown as File;
  }

  slice(from: number, to: number): Blob {
    const size = Math.max(0, Math.min(to, this.size) - from);
    const arrayBuffer = async () => {
      if (this.broken) throw new DOMException('changed', 'NotReadableError');
      return new TextEncoder().encode(`${this.name}:${from}`).buffer;
    };
    return { size, arrayBuffer } as Blob;
  }
}

interface Session {
  size: number;
  key: string;
  parts: Map<number, { etag: string; size: number }>;
  status: 'OPEN' | 'COMPLETED' | 'ABORTED';
}

type Step = 'create' | 'list' | 'batch' | 'complete' | 'abort' | 'part';
export type Fault = 'cut' | 'lost' | 'no-etag' | { status: number; body?: unknown; retryAfterMs?: number };

export class FakeCloud {
  readonly sessions = new Map<string, Session>();
  /** `create`, `batch 1,2`, `part 1`, … in order. */
  readonly calls: string[] = [];
  online = true;
  /** What a part takes, and a call to the service (ms). */
  partMs = 100;
  callMs = 0;
  open = 0;
  mostOpen = 0;
  /** The most parts of one session at once. */
  mostOfOne = 0;
  readonly #clock: FakeClock;
  readonly #faults: { step: Step; fault: Fault; times: number }[] = [];
  readonly #openOf = new Map<string, number>();
  readonly #back = new Set<() => void>();

  constructor(clock: FakeClock) {
    this.#clock = clock;
  }

  fault(step: Step, fault: Fault, times = 1): void {
    this.#faults.push({ step, fault, times });
  }

  readonly network: Network = {
    online: () => this.online,
    onOnline: (run) => {
      this.#back.add(run);
      return () => this.#back.delete(run);
    },
  };

  goOnline(): void {
    this.online = true;
    for (const run of [...this.#back]) run();
  }

  /** No more faults, and the network is there. */
  calm(): void {
    this.#faults.length = 0;
    this.goOnline();
  }

  count(prefix: string): number {
    return this.calls.filter((call) => call.startsWith(prefix)).length;
  }

  async send(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<Reply> {
    signal?.throwIfAborted();
    const [route = '', query = ''] = path.split('?');
    const [, , , id, last] = route.split('/');
    const search = new URLSearchParams(query);
    const step: Step = !id ? 'create' : method === 'DELETE' ? 'abort' : ((last ?? 'list') as Step);
    this.calls.push(step === 'batch' ? `batch ${search.get('partNumbers')}` : step);
    if (this.callMs > 0) await sleep(this.#clock, this.callMs);
    if (!this.online) throw new Unreachable('no connection');
    const fault = this.#take(step);
    if (fault === 'cut') throw new Unreachable('no connection');
    if (typeof fault === 'object') return { body: { error: 's3: refused' }, ...fault };
    const reply = this.#answer(step, id ?? '', search, body);
    if (fault === 'lost') throw new Unreachable('no connection');
    return reply;
  }

  readonly put: PutPart = async ({ url, body, signal, onSent }): Promise<PartAnswer> => {
    const [, id = '', number = ''] = url.split('/');
    this.calls.push(`part ${number}`);
    this.open += 1;
    this.mostOpen = Math.max(this.mostOpen, this.open);
    const own = (this.#openOf.get(id) ?? 0) + 1;
    this.#openOf.set(id, own);
    this.mostOfOne = Math.max(this.mostOfOne, own);
    try {
      await new Promise<void>((resolve, reject) => {
        const cancel = this.#clock.after(this.partMs / 2, () => {
          onSent(body.size / 2);
          this.#clock.after(this.partMs / 2, resolve);
        });
        signal.addEventListener('abort', () => {
          cancel();
          reject(signal.reason);
        });
      });
      if (!this.online) throw new Unreachable('the connection to S3 was cut');
      const fault = this.#take('part');
      if (fault === 'cut') throw new Unreachable('the connection to S3 was cut');
      if (typeof fault === 'object') return { etag: null, ...fault };
      const session = this.sessions.get(id);
      if (session?.status !== 'OPEN') return { status: 404, etag: null };
      const etag = `"etag-${number}"`;
      session.parts.set(Number(number), { etag, size: body.size });
      return { status: 200, etag: fault === 'no-etag' ? null : etag };
    } finally {
      this.open -= 1;
      this.#openOf.set(id, (this.#openOf.get(id) ?? 1) - 1);
    }
  };

  #take(step: Step): Fault | undefined {
    const fault = this.#faults.find((other) => other.step === step && other.times > 0);
    if (fault) fault.times -= 1;
    return fault?.fault;
  }

  #answer(step: Step, id: string, search: URLSearchParams, body: unknown): Reply {
    if (step === 'create') {
      const uploadId = `s${this.sessions.size + 1}`;
      const { size } = body as { size: number };
      this.sessions.set(uploadId, { size, key: `key-${uploadId}`, parts: new Map(), status: 'OPEN' });
      return { status: 200, body: { uploadId, key: `key-${uploadId}`, partSize: 8 * MIB } };
    }
    const session = this.sessions.get(id);
    if (!session) return { status: 404, body: {} };
    if (step === 'complete') return this.#complete(session, body);
    if (step === 'abort') {
      session.status = 'ABORTED';
      session.parts.clear();
      return { status: 200, body: {} };
    }
    if (session.status !== 'OPEN') return { status: 404, body: {} };
    if (step === 'list') {
      const parts = [...session.parts].map(([PartNumber, part]) => ({
        PartNumber,
        ETag: part.etag,
        Size: part.size,
      }));
      return { status: 200, body: parts };
    }
    const numbers = (search.get('partNumbers') ?? '').split(',');
    return {
      status: 200,
      body: { presignedUrls: Object.fromEntries(numbers.map((n) => [n, `s3:/${id}/${n}`])) },
    };
  }

  #complete(session: Session, body: unknown): Reply {
    const done = { status: 200, body: { key: session.key, location: `https://bucket/${session.key}` } };
    if (session.status === 'COMPLETED') return done;
    if (session.status === 'ABORTED') return { status: 404, body: {} };
    const { parts } = body as { parts: { PartNumber: number; ETag: string }[] };
    const stored = [...session.parts.values()].reduce((bytes, part) => bytes + part.size, 0);
    if (stored !== session.size || parts.length !== session.parts.size) {
      return {
        status: 409,
        body: { error: 's3: the upload is not complete', details: { storedBytes: stored } },
      };
    }
    session.status = 'COMPLETED';
    return done;
  }
}

export function settings(more: Partial<UploadSettings> = {}): UploadSettings {
  return {
    endpoint: 'https://api',
    scope: '',
    parallel: 3,
    maxActive: 1,
    maxRetries: 5,
    retryDelayMs: 500,
    bytesPerSec: null,
    chunkSize: 0,
    keepCopiesUpTo: 50 * MIB,
    accept: '',
    maxBytes: 5 * MIB * MIB,
    autoResume: true,
    ...more,
  };
}

export function record(size: number, more: Partial<UploadRecord> = {}): UploadRecord {
  return {
    id: 'u1',
    scope: 'https://api|',
    projectId: 'p',
    fileName: 'film.mp4',
    fileType: 'video/mp4',
    fileSize: size,
    fingerprint: 'f',
    metadata: {},
    priority: 0,
    order: 1,
    sessionId: '',
    key: '',
    partSize: 0,
    status: 'queued',
    progress: 0,
    startedAt: 1_000_000,
    lastActivity: 1_000_000,
    ...more,
  };
}

/** The ports of a run on the fakes. */
export function ports(clock: FakeClock, cloud: FakeCloud, bytesPerSec: number | null = null) {
  return {
    service: new UploadService((...request) => cloud.send(...request)),
    put: cloud.put,
    clock,
    pace: new Pace(clock, bytesPerSec),
    slots: new Slots(6),
    network: cloud.network,
  };
}

/** What IndexedDB keeps, in memory. */
export class MemoryStore implements UploadStore {
  readonly #records = new Map<string, UploadRecord>();
  readonly #files = new Map<string, Blob | FileSystemFileHandle>();
  readonly durable = true;

  async all(scope: string): Promise<UploadRecord[]> {
    const own = [...this.#records.values()].filter((record) => record.scope === scope);
    return own.map((record) => ({ ...record })).sort((one, other) => one.order - other.order);
  }

  async get(id: string): Promise<UploadRecord | undefined> {
    const record = this.#records.get(id);
    return record && { ...record };
  }

  async put(record: UploadRecord): Promise<void> {
    this.#records.set(record.id, { ...record });
  }

  async remove(id: string): Promise<void> {
    this.#records.delete(id);
    this.#files.delete(id);
  }

  async keepFile(id: string, file: Blob | FileSystemFileHandle): Promise<void> {
    this.#files.set(id, file);
  }

  async file(id: string): Promise<Blob | FileSystemFileHandle | undefined> {
    return this.#files.get(id);
  }

  async dropFile(id: string): Promise<void> {
    this.#files.delete(id);
  }
}
