/** One page's conversation with the host: the original's messages, and ours. */

import type { Message, Port } from '../host/port.ts';
import { reasonOf } from './error.ts';
import { ExitForm } from './exit-form.ts';
import { line, type Redactor } from './format.ts';
import type { Held } from './held.ts';
import { redactor } from './redact.ts';
import { type LogService, scopeName } from './service.ts';
import { type Append, droppedTotal, type Group, noUsage, ROW_BYTES } from './store.ts';
import { DEFAULTS, type Format, LEVELS, type Level, type Scope, type WorkerConfig } from './types.ts';
import { answerUpload } from './upload.ts';

/** Lines are stored at the latest after this (ms). */
const COMMIT_MS = 50;

/** How long a form of a page that has just closed takes to arrive (ms). */
const ARRIVAL_MS = 10_000;

/** A configuration with the defaults of what it leaves out. */
type Config = WorkerConfig & { [K in keyof typeof DEFAULTS]: number } & { format: Format };

const NOWHERE: Config = {
  ...DEFAULTS,
  presignedUrlEndpoint: '',
  meetingId: '',
  attendeeId: '',
  format: 'text',
};

/** Lines that wait to be stored. */
type Waiting = Pick<Append, 'scope' | 'format' | 'tab' | 'groups'>;

export class Connection {
  config = NOWHERE;
  /** `null` until endpoint, meeting and attendee are known. */
  scope: string | null = null;
  /** The page is closed or in the back/forward cache, or it does not answer. */
  left = false;
  /** It has said so itself. What else it says then is from its last moments. */
  #saidSo = false;
  readonly exitForm: ExitForm;
  readonly #port: Port;
  readonly #service: LogService;
  readonly #close: () => void;
  #tab: string;
  #group = 0;
  #initialized = false;
  #redactor: Redactor | null = null;
  #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #urgent = false;
  #cancelCommit: (() => void) | null = null;
  #asked: { scope: Scope; answer: (token: string | null) => void }[] = [];

  constructor(port: Port, service: LogService, tab: string, close: () => void) {
    this.#port = port;
    this.#service = service;
    this.#tab = tab;
    this.#close = close;
    this.exitForm = new ExitForm(service, (message) => this.send(message));
    port.onmessage = ({ data }) => {
      this.receive(data).catch((error: unknown) => {
        this.#error(reasonOf(error), 'INTERNAL', data?.request);
      });
    };
  }

  /** Whether the page knows `TOKEN_NEEDED`: the original's clients do not. */
  get answersTokens(): boolean {
    return this.config.tab !== undefined;
  }

  send(message: Message): void {
    this.#port.postMessage(message);
  }

  async receive(message: Message): Promise<void> {
    const command = message?.command;
    if (command === 'LOG_WORKER_INITIALIZE' || message?.state === 'visible') this.#saidSo = false;
    if (this.left && !this.#saidSo) this.#service.returned(this);
    this.left = this.#saidSo;
    if (command === 'LOG_WORKER_INITIALIZE') return this.#initialize(message.config);
    if (command === 'TERMINATE') return this.#terminate(message.request);
    if (!this.#initialized)
      return this.#error('LOG_WORKER_INITIALIZE comes first', 'NOT_INITIALIZED', message?.request);
    switch (command) {
      case 'PUT_LOG':
        return this.putLog(message);
      case 'PUT_LOGS':
        return this.#putLogs(message);
      case 'UPLOAD_LOGS':
        return this.#upload(message);
      case 'UPDATE_METADATA':
        return this.#updateMetadata(message);
      case 'TOKEN':
        return this.#token(message.joinToken ?? null, message.scope);
      case 'NETWORK':
        if (message.online) this.#service.online();
        return;
      case 'PAGE':
        return this.#page(message.state);
      case 'EXIT_FORM':
        return this.#exitForm(message);
      case 'STATS':
        return this.#stats(message.request);
      default:
        return this.#error(
          `unknown command ${String(command).slice(0, 64)}`,
          'UNKNOWN_COMMAND',
          message.request,
        );
    }
  }

  async #initialize(config: WorkerConfig): Promise<void> {
    this.config = { ...NOWHERE, ...config };
    this.#tab = config?.tab ?? this.#tab;
    this.#redactor = redactor(this.config.redact);
    this.#initialized = true;
    this.#setScope();
    await this.#service.spool.ready();
    // Before anything is asked of the page: it answers once it knows its host.
    this.send({ command: 'LOG_WORKER_READY', storage: this.#service.spool.storage });
    await this.#service.started(this);
  }

  #setScope(): void {
    const { presignedUrlEndpoint: endpoint, meetingId, attendeeId, joinToken } = this.config;
    this.scope = endpoint && meetingId && attendeeId ? scopeName({ endpoint, meetingId, attendeeId }) : null;
    if (this.scope && joinToken) void this.#service.lane(this.scope).sender.setToken(joinToken);
    if (this.scope) for (const waiting of this.#waiting) waiting.scope ||= this.scope;
  }

  async #updateMetadata({ meetingId, attendeeId, joinToken }: Message): Promise<void> {
    // At once: lines that are posted next belong to the new scope, and those that wait know theirs.
    const { joinToken: _, ...config } = this.config;
    this.config = { ...config, ...(meetingId && { meetingId }), ...(attendeeId && { attendeeId }) };
    if (joinToken) this.config.joinToken = joinToken;
    this.#setScope();
    this.#service.prepare(this);
    if (this.#waiting.length) await this.commit();
  }

  /** One entry of a client that speaks the original's protocol: formatted and redacted here. */
  putLog({ level, message, timestamp, context }: Message): void {
    const time = typeof timestamp === 'number' ? timestamp : this.#service.clock.now();
    const upper = String(level).toUpperCase();
    const entry = {
      time,
      level: (LEVELS as readonly string[]).includes(upper) ? (upper as Level) : 'INFO',
      message: typeof message === 'string' ? message : String(message),
      context,
    };
    const { format, maxEntryBytes } = this.config;
    this.#group += 1;
    const lines = [line(entry, format, maxEntryBytes, this.#redactor)];
    this.#add(this.#tab, this.scope ?? '', { group: this.#group, lines });
  }

  /** A page's lines of one task; with `again` those that an earlier page could not hand over. */
  async #putLogs(message: Message): Promise<void> {
    const { tab = this.#tab, group, entries, lost = 0, again, scope } = message;
    if (message.urgent) this.#urgent = true;
    this.#add(tab, scope ?? this.scope ?? '', { group, lines: entries, lost }, message.format);
    if (again) await this.commit();
  }

  #add(tab: string, scope: string, group: Group, format = this.config.format): void {
    const last = this.#waiting.at(-1);
    if (last && last.tab === tab && last.scope === scope && last.format === format) {
      last.groups.push(group);
    } else {
      this.#waiting.push({ scope, format, tab, groups: [group] });
    }
    for (const text of group.lines) this.#waitingBytes += text.length;
    if (this.#waitingBytes >= ROW_BYTES) void this.commit();
    else this.#cancelCommit ??= this.#service.clock.after(COMMIT_MS, () => void this.commit());
  }

  /** Stores what waits, after what was committed before. */
  commit(): Promise<void> {
    this.#cancelCommit?.();
    this.#cancelCommit = null;
    // Lines without a scope wait until there is one.
    const ready = this.#waiting.filter(({ scope }) => scope);
    this.#waiting = this.#waiting.filter(({ scope }) => !scope);
    this.#waitingBytes = 0;
    const urgent = this.#urgent;
    this.#urgent = false;
    return this.#service.inOrder(async () => {
      for (const { scope, format, tab, groups } of ready) {
        const maxRowLines = Math.max(1, Math.floor(this.config.maxEntries / 20));
        const nowMs = this.#service.clock.now();
        const what = { scope, format, tab, groups, maxRowLines, nowMs };
        const lost = await this.#service.spool.append(what, this.config);
        this.send({ command: 'COMMITTED', tab, upTo: groups.at(-1)?.group ?? 0 });
        if (lost.dropped)
          this.#service.tell(scope, { command: 'LOG_DROPPED', count: lost.dropped, why: lost.why });
        this.#offerForm(scope, tab);
        await this.#service.stored(scope, this, urgent);
      }
    });
  }

  /** Gets the page a form for what it has stored, if it sends forms. */
  #offerForm(scope: string, tab: string): void {
    const { autoUpload, flushIntervalMs } = this.config;
    const { durable } = this.#service.spool;
    if (!durable || !autoUpload || scope !== this.scope || tab !== this.#tab) return;
    if (!this.#service.endsWith(this)) return;
    void this.exitForm.offer(this.#service.lane(scope).sender, durable, tab, flushIntervalMs);
  }

  async #exitForm({ wanted, forgotten, over, tab, sent }: Message): Promise<void> {
    if (wanted) await this.exitForm.wanted(wanted, this.#tab, this.#service.spool.durable);
    else if (forgotten) await this.exitForm.forgotten(forgotten, this.#tab);
    else if (over) {
      // How an earlier page ended, by one that has read it.
      const service = this.#service;
      const never = (held: Held) => held.visit <= over && held.key !== sent;
      const free = await service.inOrder(async () => service.spool.durable?.release(tab, never));
      this.send({ command: 'COMMITTED', tab, upTo: 0 });
      const { scope } = free ?? this;
      if (scope) service.clock.after(free ? 0 : ARRIVAL_MS, () => service.hurry(scope));
    }
  }

  /** Asks the page for its form; `false` if it is not back. */
  async recall(): Promise<boolean> {
    const back = await this.exitForm.recall(this.left);
    if (!back) this.left = true;
    return back;
  }

  async #upload(message: Message): Promise<void> {
    const { scope } = this;
    await this.commit();
    this.send(await answerUpload(this.#service, scope, message));
  }

  /** Asks the page; `undefined` if it does not answer. */
  askToken(scope: Scope, reason: 'start' | 'expired', withinMs: number): Promise<string | null | undefined> {
    return new Promise((resolve) => {
      const settle = (token: string | null | undefined) => {
        cancel();
        this.#asked = this.#asked.filter((other) => other !== asked);
        resolve(token);
      };
      const asked = { scope, answer: settle };
      const cancel = this.#service.clock.after(withinMs, () => {
        this.left = true;
        settle(undefined);
      });
      this.#asked.push(asked);
      this.send({ command: 'TOKEN_NEEDED', scope, reason });
    });
  }

  async #token(token: string | null, scope?: Scope): Promise<void> {
    const same = (other: Scope) =>
      !scope || (other.meetingId === scope.meetingId && other.attendeeId === scope.attendeeId);
    const asked = this.#asked.find((one) => same(one.scope));
    if (asked) return asked.answer(token);
    // Too late for an answer, it is still a token of that scope.
    const endpoint = this.config.presignedUrlEndpoint;
    const own = scope && this.scope ? scopeName({ endpoint, ...scope }) : this.scope;
    if (token && own) await this.#service.lane(own).sender.setToken(token);
  }

  async #page(state: string): Promise<void> {
    // `sent`: the page has sent its last lines itself.
    if (state === 'leaving' || state === 'sent') this.left = this.#saidSo = true;
    await this.commit();
    if (this.scope && state !== 'visible' && state !== 'sent') this.#service.hurry(this.scope);
  }

  async #stats(request: unknown): Promise<void> {
    const { scope } = this;
    const { spool } = this.#service;
    await this.commit();
    await spool.ready();
    const { entries, bytes, dropped } = scope ? await spool.usage(scope) : noUsage();
    const batches = await Promise.all(spool.stores().map((store) => store.batches(scope ?? '')));
    const states = batches.flat().map(({ state }) => state);
    const sender = scope ? this.#service.lane(scope).sender : undefined;
    const stats = {
      storage: spool.storage,
      entries,
      bytes,
      batches: states.length,
      refused: states.filter((state) => state === 'refused').length,
      dropped: droppedTotal(dropped),
      error: sender?.lastFailure?.message,
      retryInMs: sender?.retryInMs,
    };
    this.send({ command: 'STATS', request, stats });
  }

  async #terminate(request: unknown): Promise<void> {
    await this.commit();
    this.#service.leave(this);
    this.send({ command: 'LOG_WORKER_TERMINATED', request });
    this.#close();
  }

  #error(error: string, code: string, request?: unknown): void {
    this.send({ command: 'LOG_WORKER_ERROR', error, code, request });
  }
}
