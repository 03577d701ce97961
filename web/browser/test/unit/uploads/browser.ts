/** A browser with tabs, on the fakes: what they share is the database, the locks and the channel. */

import { UploadEngine } from '../../../src/uploads/engine.ts';
import type { Channel, Locks } from '../../../src/uploads/ports.ts';
import type { UploadSettings, UploadWorkerResponse } from '../../../src/uploads/protocol.ts';
import { UploadService } from '../../../src/uploads/service.ts';
import { FakeClock, FakeCloud, MemoryStore, ports, settings } from './fakes.ts';

export interface Tab {
  engine: UploadEngine;
  messages: UploadWorkerResponse[];
  /** As a SIGKILL: its locks are free, and nothing of it runs any more. */
  die(): void;
}

const never = () => new Promise<never>(() => {});

export class Browser {
  readonly clock = new FakeClock();
  readonly cloud = new FakeCloud(this.clock);
  readonly store = new MemoryStore();
  readonly #locks = new Map<string, { owner: symbol; waiting: (() => void)[] }>();
  readonly #channels = new Map<symbol, Channel>();

  async tab(more: Partial<UploadSettings> = {}): Promise<Tab> {
    const me = Symbol('tab');
    const life = { over: false };
    const killed = new AbortController();
    /** Calls of a dead tab neither begin nor return. */
    const alive = async <T>(call: () => Promise<T>): Promise<T> => {
      if (life.over) return never();
      try {
        const value = await call();
        return life.over ? never() : value;
      } catch (error) {
        if (life.over) return never();
        throw error;
      }
    };
    const messages: UploadWorkerResponse[] = [];
    let ids = 0;
    const limits = settings(more);
    const { store, cloud } = this;
    const channel: Channel = {
      onmessage: null,
      postMessage: (message) => {
        if (life.over) return;
        for (const [other, { onmessage }] of this.#channels) {
          if (other !== me) queueMicrotask(() => onmessage?.({ data: structuredClone(message) }));
        }
      },
    };
    this.#channels.set(me, channel);
    const engine = new UploadEngine(
      limits,
      {
        ...ports(this.clock, cloud, limits.bytesPerSec),
        service: new UploadService((...request) => alive(() => cloud.send(...request))),
        put: (part) =>
          alive(() => cloud.put({ ...part, signal: AbortSignal.any([part.signal, killed.signal]) })),
        store: {
          durable: true,
          all: (scope) => alive(() => store.all(scope)),
          get: (id) => alive(() => store.get(id)),
          put: (record) => alive(() => store.put(record)),
          remove: (id) => alive(() => store.remove(id)),
          keepFile: (id, file) => alive(() => store.keepFile(id, file)),
          file: (id) => alive(() => store.file(id)),
          dropFile: (id) => alive(() => store.dropFile(id)),
        },
        locks: this.#locksOf(me, life),
        channel,
        newId: () => `id-${this.#channels.size}-${++ids}`,
      },
      (message) => messages.push(message),
    );
    await engine.open();
    const die = () => {
      life.over = true;
      killed.abort(new Error('killed'));
      this.#channels.delete(me);
      for (const [name, { owner }] of [...this.#locks]) if (owner === me) this.#free(name, me);
    };
    return { engine, messages, die };
  }

  #locksOf(me: symbol, life: { over: boolean }): Locks {
    const take = (name: string) => {
      this.#locks.set(name, { owner: me, waiting: [] });
      return () => this.#free(name, me);
    };
    return {
      tryHold: async (name) => (this.#locks.has(name) ? null : take(name)),
      hold: async (name) => {
        for (let lock = this.#locks.get(name); lock; lock = this.#locks.get(name)) {
          const { waiting } = lock;
          await new Promise<void>((go) => waiting.push(go));
          if (life.over) return never();
        }
        return take(name);
      },
    };
  }

  #free(name: string, by: symbol): void {
    const lock = this.#locks.get(name);
    if (lock?.owner !== by) return;
    this.#locks.delete(name);
    for (const go of lock.waiting) go();
  }
}
