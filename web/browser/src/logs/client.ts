/** The page's half: numbers what is logged, hands it to the host, and keeps it until the host has stored it. */

import { newId } from '../host/clock.ts';
import { connect, type HostChoice, type HostKind, type Hosts } from '../host/host.ts';
import type { Message, Port } from '../host/port.ts';
import { type Kept, readExits, removeExit, saveExit } from './exit.ts';
import type { DropReason, Scope, Stats, Summary, WorkerConfig } from './types.ts';

export type TokenCallback = (request: {
  scope: Scope;
  reason: 'start' | 'expired';
}) => Promise<string | null> | string | null;

/** Why a flush failed. The lines are still here and go later, unless `code` is `REFUSED`. */
export class LogferryError extends Error {
  override name = 'LogferryError';
  readonly code: string;
  readonly retryInMs: number;

  constructor(message: string, code: string, retryInMs = 0) {
    super(message);
    this.code = code;
    this.retryInMs = retryInMs;
  }
}

export interface Events {
  status: (status: { host: HostKind | 'none'; storage: string }) => void;
  dropped: (dropped: { count: number; why: DropReason }) => void;
  error: (error: LogferryError) => void;
}

export interface FlushOptions {
  /** `ingested`: also wait until the service has read the files. */
  until?: 'stored' | 'ingested';
  /** When to give up waiting (ms): 30 s, with `ingested` 120 s. */
  timeoutMs?: number;
}

/** How often a host that fails is replaced. */
const MAX_RESTARTS = 3;

interface Request {
  message: Message;
  resolve(answer: Message): void;
  reject(error: Error): void;
}

export class LogClient {
  readonly #tab = newId();
  readonly #hosts: Hosts;
  readonly #choice: HostChoice;
  readonly #getToken: TokenCallback;
  #config: WorkerConfig;
  #host: HostKind | 'none' = 'none';
  #storage: Stats['storage'] = 'indexeddb';
  #port: Port | null = null;
  #survives = false;
  #restarts = 0;
  #group = 0;
  /** The lines of this task. */
  #lines: string[] = [];
  #urgent = false;
  /** Groups that the host has not stored yet, oldest first. */
  #kept: Kept[] = [];
  #leaving = false;
  #saved = false;
  #ended = false;
  #exits = new Map<string, Message[]>();
  #requests = new Map<string, Request>();
  #task: MessagePort | null = null;
  #listeners: { [E in keyof Events]: Set<Events[E]> } = {
    status: new Set(),
    dropped: new Set(),
    error: new Set(),
  };
  #off: (() => void)[] = [];

  constructor(config: WorkerConfig, hosts: Hosts, choice: HostChoice, getToken: TokenCallback) {
    this.#config = { ...config, tab: this.#tab };
    this.#hosts = hosts;
    this.#choice = choice;
    this.#getToken = getToken;
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => this.post();
    this.#task = port2;
    this.#watch();
    this.#exits = readExits(this.#tab, Date.now());
    void this.#connect();
  }

  /** Takes a line; it is posted with the others of this task. */
  add(line: string, urgent: boolean): void {
    if (this.#ended) return;
    if (this.#lines.push(line) === 1) this.#task?.postMessage(0);
    if (urgent) this.#urgent = true;
    // After `pagehide` there may be no further task.
    if (this.#leaving) this.post();
  }

  /** Posts what was logged since the last time, as one numbered group. */
  post(): void {
    if (this.#lines.length) {
      this.#group += 1;
      const group = { group: this.#group, lines: this.#lines };
      const { scope, format } = this.#scope();
      const last = this.#kept.at(-1);
      if (last && last.scope === scope && last.format === format) last.groups.push(group);
      else this.#kept.push({ scope, format, groups: [group] });
      const urgent = this.#urgent;
      [this.#lines, this.#urgent] = [[], false];
      this.#send({ command: 'PUT_LOGS', tab: this.#tab, group: group.group, entries: group.lines, urgent });
    }
    if (this.#leaving) this.#save();
  }

  async flush({ until, timeoutMs }: FlushOptions = {}): Promise<Summary & { message: string }> {
    this.post();
    const { uploaded, files, dropped, message } = await this.#request({
      command: 'UPLOAD_LOGS',
      until,
      timeoutMs,
    });
    return { uploaded, files, dropped, message };
  }

  async stats(): Promise<Stats> {
    this.post();
    const { stats } = await this.#request({ command: 'STATS' });
    this.#storage = stats.storage;
    return { host: this.#host, ...stats };
  }

  setScope({ meetingId, attendeeId }: Scope, joinToken?: string): void {
    this.post();
    this.#config = { ...this.#config, meetingId, attendeeId };
    if (joinToken) this.#config.joinToken = joinToken;
    else delete this.#config.joinToken;
    this.#send({ command: 'UPDATE_METADATA', meetingId, attendeeId, joinToken });
  }

  on<E extends keyof Events>(event: E, listener: Events[E]): () => void {
    this.#listeners[event].add(listener);
    return () => this.#listeners[event].delete(listener);
  }

  /** Hands over what was logged, then leaves the host. Nothing is lost; what is not sent waits. */
  async destroy(): Promise<void> {
    if (this.#ended) return;
    this.post();
    this.#ended = true;
    await this.#request({ command: 'TERMINATE' }).catch(() => this.#save());
    for (const off of this.#off) off();
    this.#task?.close();
    this.#port?.close?.();
    this.#port?.terminate?.();
    this.#port = null;
    const gone = new LogferryError('the logger was destroyed', 'DESTROYED');
    for (const { reject } of this.#requests.values()) reject(gone);
    this.#requests.clear();
  }

  #scope(): { scope: string; format: 'ndjson' | 'text' } {
    const { presignedUrlEndpoint, meetingId, attendeeId, format = 'text' } = this.#config;
    return { scope: JSON.stringify([presignedUrlEndpoint, meetingId, attendeeId]), format };
  }

  async #connect(): Promise<void> {
    const config = this.#config;
    const hello = { command: 'LOG_WORKER_INITIALIZE', config };
    const receive = (message: Message) => this.#receive(message);
    const lost = (reason: string) => {
      this.#port = null;
      this.#restarts += 1;
      this.#emit('error', new LogferryError(`the log worker failed: ${reason}`, 'HOST_LOST'));
      if (this.#restarts <= MAX_RESTARTS && !this.#ended) void this.#connect();
    };
    try {
      const connected = await connect(this.#choice, this.#hosts, hello, 'LOG_WORKER_READY', receive, lost);
      this.#host = connected.kind;
      this.#survives = connected.survives;
      this.#port = connected.port;
    } catch (error) {
      return this.#emit('error', new LogferryError((error as Error).message, 'NO_HOST'));
    }
    this.#emit('status', { host: this.#host, storage: this.#storage });
    if (this.#config !== config) this.#send({ command: 'UPDATE_METADATA', ...this.#config });
    // What a host that failed has stored already is skipped by the next.
    for (const messages of this.#exits.values()) for (const message of messages) this.#send(message);
    for (const { scope, format, groups } of this.#kept) {
      for (const { group, lines } of groups) {
        this.#send({ command: 'PUT_LOGS', tab: this.#tab, group, entries: lines, scope, format });
      }
    }
    for (const { message } of this.#requests.values()) this.#send(message);
  }

  #send(message: Message): void {
    this.#port?.postMessage(message);
  }

  #request(message: Message): Promise<Message> {
    const request = newId();
    return new Promise((resolve, reject) => {
      const sent = { ...message, request };
      this.#requests.set(request, { message: sent, resolve, reject });
      this.#send(sent);
    });
  }

  #receive(message: Message): void {
    const pending = this.#requests.get(message.request);
    this.#requests.delete(message.request);
    switch (message.command) {
      case 'LOG_WORKER_READY':
        this.#storage = message.storage;
        return;
      case 'COMMITTED':
        return this.#committed(message.tab, message.upTo);
      case 'TOKEN_NEEDED':
        void this.#answerToken(message.scope, message.reason);
        return;
      case 'LOG_DROPPED':
        return this.#emit('dropped', { count: message.count, why: message.why });
      case 'LOG_UPLOAD_COMPLETE':
      case 'STATS':
        return pending?.resolve(message);
      case 'LOG_WORKER_TERMINATED':
        for (const { message: sent, resolve } of this.#requests.values()) {
          if (sent.command === 'TERMINATE') resolve(message);
        }
        return;
      case 'LOG_UPLOAD_FAILED':
      case 'LOG_WORKER_ERROR': {
        const error = new LogferryError(message.error, message.code, message.retryInMs);
        pending?.reject(error);
        return this.#emit('error', error);
      }
    }
  }

  #committed(tab: string, upTo: number): void {
    if (tab !== this.#tab) {
      const last = this.#exits.get(tab)?.at(-1);
      if (last && last.group <= upTo) {
        this.#exits.delete(tab);
        removeExit(tab);
      }
      return;
    }
    for (const kept of this.#kept) kept.groups = kept.groups.filter(({ group }) => group > upTo);
    this.#kept = this.#kept.filter(({ groups }) => groups.length);
    if (this.#saved) this.#save();
  }

  async #answerToken(scope: Scope, reason: 'start' | 'expired'): Promise<void> {
    let joinToken: string | null = null;
    try {
      joinToken = await this.#getToken({ scope, reason });
    } catch (error) {
      const what = error instanceof Error ? error.message : 'no reason';
      this.#emit('error', new LogferryError(`getToken failed: ${what}`, 'AUTH_FAILED'));
    }
    this.#send({ command: 'TOKEN', scope, joinToken });
  }

  /** Copies what is not stored yet to where it stays when the page ends now. */
  #save(): void {
    if (this.#survives) return;
    this.#saved = this.#kept.length > 0;
    saveExit(this.#tab, this.#kept, Date.now());
  }

  #watch(): void {
    const leave = (state: 'hidden' | 'frozen' | 'leaving') => {
      this.post();
      this.#send({ command: 'PAGE', state });
      this.#save();
    };
    const back = () => {
      this.#leaving = false;
      this.#send({ command: 'PAGE', state: 'visible' });
      if (this.#saved) this.#save();
    };
    const listen = (target: EventTarget, event: string, listener: (event: Event) => void) => {
      target.addEventListener(event, listener);
      this.#off.push(() => target.removeEventListener(event, listener));
    };
    listen(document, 'visibilitychange', () => document.visibilityState === 'hidden' && leave('hidden'));
    listen(document, 'freeze', () => leave('frozen'));
    listen(document, 'resume', back);
    listen(window, 'pagehide', () => {
      this.#leaving = true;
      leave('leaving');
    });
    listen(window, 'pageshow', (event) => (event as PageTransitionEvent).persisted && back());
    // Workers do not get these everywhere.
    for (const event of ['online', 'offline']) {
      listen(window, event, () => this.#send({ command: 'NETWORK', online: event === 'online' }));
    }
  }

  #emit<E extends keyof Events>(event: E, value: Parameters<Events[E]>[0]): void {
    for (const listener of this.#listeners[event]) (listener as (value: unknown) => void)(value);
  }
}
