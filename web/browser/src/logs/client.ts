/** The page's half: numbers what is logged, hands it to the host, and keeps it until the host has stored it. */

import { newId } from '../host/clock.ts';
import { connect, type HostChoice, type HostKind, type Hosts } from '../host/host.ts';
import type { Message, Port } from '../host/port.ts';
import { Beacon } from './beacon.ts';
import { LogferryError, reasonOf } from './error.ts';
import { fitting, type Kept, type Over, putLogs, readExits, removeExit, saveExit } from './exit.ts';
import { watchPage } from './page-events.ts';
import { Requests } from './requests.ts';
import type { Events, FlushOptions, Format, Scope, Stats, TokenCallback, WorkerConfig } from './types.ts';

type ClientConfig = WorkerConfig & { format: Format };

/** How often a host that fails is replaced before the page does the work itself. */
const MAX_RESTARTS = 3;
/** How often a host is looked for while there is none (ms). */
const RETRY_MS = 60_000;
/** The most that waits while there is no host (characters). */
const MAX_KEPT = 5 << 20;
/** A host that has not answered a request, or stored a line, within this time is replaced (ms). */
const ANSWER_MS = 30_000;
/** The longest that the host takes for a flush by itself (ms). One that has worked longer is none that always fails. */
const LONGEST_FLUSH_MS = 120_000;

export class LogClient {
  #tab = newId();
  readonly #hosts: Hosts;
  readonly #choice: HostChoice;
  readonly #getToken: TokenCallback;
  #config: ClientConfig;
  #host: HostKind | 'none' = 'none';
  #storage: Stats['storage'] = 'indexeddb';
  #port: Port | null = null;
  #survives = false;
  #restarts = 0;
  /** When the host was started (ms). */
  #since = 0;
  /** There is no host, and none is being started. */
  #idle = false;
  #group = 0;
  /** The lines of this task. */
  #lines: string[] = [];
  #urgent = false;
  /** Groups that the host has not stored yet, oldest first. */
  #kept: Kept[] = [];
  /** At least the length of what is in it. */
  #chars = 0;
  #leaving = false;
  #saved = false;
  /** For pages whose worker may end with them. */
  #beacon: Beacon | null = null;
  /** How the page has ended, if it does not come back. */
  #over: Over | undefined;
  #ended = false;
  readonly #exits = readExits(this.#tab, Date.now());
  readonly #requests = new Requests(
    (message) => this.#send(message),
    () => this.#lost('no answer'),
  );
  #task: MessagePort | null = null;
  readonly #listeners = new Set<{ event: keyof Events; listener: (value: never) => void }>();
  /** Ends the listening to the page. */
  readonly off = new AbortController();
  /** Since when lines wait to be stored (ms). */
  #waitingSince = 0;

  constructor(config: ClientConfig, hosts: Hosts, choice: HostChoice, getToken: TokenCallback) {
    this.#config = { ...config, tab: this.#tab };
    this.#hosts = hosts;
    this.#choice = choice;
    this.#getToken = getToken;
    if (config.autoUpload && 'sendBeacon' in navigator)
      this.#beacon = new Beacon((message) => this.#send(message));
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => this.post();
    this.#task = port2;
    this.#watch();
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
      const { presignedUrlEndpoint, meetingId, attendeeId, format } = this.#config;
      const scope = JSON.stringify([presignedUrlEndpoint, meetingId, attendeeId]);
      const last = this.#kept.at(-1);
      if (last?.scope === scope) last.groups.push(group);
      else this.#kept.push({ scope, format, groups: [group] });
      this.#chars += group.lines.join().length;
      if (this.#idle && this.#chars > MAX_KEPT) {
        this.#chars = MAX_KEPT * 0.8;
        this.#kept = fitting(this.#kept, this.#chars);
      }
      this.#waitingSince ||= Date.now();
      this.#beacon?.add(group.group, group.lines);
      const urgent = this.#urgent;
      [this.#lines, this.#urgent] = [[], false];
      this.#send({ command: 'PUT_LOGS', tab: this.#tab, group: group.group, entries: group.lines, urgent });
      if (Date.now() - this.#waitingSince > ANSWER_MS) this.#lost('lines are not stored');
    }
    if (this.#leaving) this.#save();
  }

  /** The host's answer: a summary, and the original's message. */
  flush({ until, timeoutMs }: FlushOptions = {}): Promise<Message> {
    this.post();
    const upload = { command: 'UPLOAD_LOGS', until, timeoutMs };
    return this.#requests.ask(upload, (timeoutMs ?? LONGEST_FLUSH_MS) + ANSWER_MS);
  }

  async stats(): Promise<Stats> {
    this.post();
    const { stats } = await this.#requests.ask({ command: 'STATS' }, ANSWER_MS);
    return { host: this.#host, ...stats };
  }

  setScope({ meetingId, attendeeId }: Scope, joinToken?: string): void {
    this.post();
    this.#beacon?.drop();
    const of = { meetingId, attendeeId, joinToken };
    this.#config = { ...this.#config, ...of } as ClientConfig;
    this.#send({ command: 'UPDATE_METADATA', ...of });
  }

  on<E extends keyof Events>(event: E, listener: Events[E]): () => void {
    const entry = { event, listener };
    this.#listeners.add(entry);
    return () => this.#listeners.delete(entry);
  }

  /** Hands over what was logged, then leaves the host. Nothing is lost; what is not sent waits. */
  async destroy(): Promise<void> {
    if (this.#ended) return;
    this.post();
    this.#beacon?.forget();
    this.#ended = true;
    await this.#requests.ask({ command: 'TERMINATE' }, ANSWER_MS).catch(() => this.#save());
    this.off.abort();
    this.#task?.close();
    this.#port?.close?.();
    this.#port?.terminate?.();
    this.#port = null;
    this.#requests.fail(new LogferryError('the logger is destroyed', 'DESTROYED'));
  }

  async #connect(): Promise<void> {
    const config = this.#config;
    const choice = this.#restarts > MAX_RESTARTS ? 'main' : this.#choice;
    const hello = { command: 'LOG_WORKER_INITIALIZE', config };
    const receive = (message: Message) => this.#receive(message);
    try {
      const connected = await connect(choice, this.#hosts, hello, 'LOG_WORKER_READY', receive, (reason) =>
        this.#lost(reason),
      );
      this.#host = connected.kind;
      this.#survives = connected.survives;
      this.#port = connected.port;
      this.#since = Date.now();
    } catch (error) {
      const failed = new LogferryError(reasonOf(error), 'NO_HOST');
      this.#requests.fail(failed);
      this.#idle = true;
      setTimeout(() => this.#retry(), RETRY_MS);
      return this.#emit('error', failed);
    }
    this.#emit('status', { host: this.#host, storage: this.#storage });
    // A worker that lives on sends the last lines itself.
    if (this.#survives) this.#beacon = null;
    this.#beacon?.want();
    if (this.#config !== config) this.#send({ command: 'UPDATE_METADATA', ...this.#config });
    // What a host that failed has stored already is skipped by the next.
    const exits = [...this.#exits.values()].flat();
    for (const message of [...exits, ...putLogs(this.#tab, this.#kept, false)]) this.#send(message);
    this.#requests.resend();
  }

  /** Looks for a host where there was none. */
  #retry(): void {
    if (!this.#idle || this.#ended) return;
    this.#idle = false;
    this.#requests.failed = null;
    void this.#connect();
  }

  /** Starts another host: what it has not stored is posted again. */
  #lost(reason: string): void {
    if (!this.#port || this.#ended) return;
    this.#port.terminate?.();
    this.#port = null;
    this.#waitingSince = 0;
    this.#restarts = Date.now() - this.#since > LONGEST_FLUSH_MS ? 1 : this.#restarts + 1;
    this.#emit('error', new LogferryError(`the log worker failed: ${reason}`, 'HOST_LOST'));
    void this.#connect();
  }

  #send(message: Message): void {
    this.#port?.postMessage(message);
  }

  #receive(message: Message): void {
    switch (message.command) {
      case 'LOG_WORKER_READY':
        this.#storage = message.storage;
        return;
      case 'COMMITTED':
        return this.#committed(message.tab, message.upTo);
      case 'EXIT_FORM':
        return this.#beacon?.receive(message);
      case 'TOKEN_NEEDED':
        void this.#answerToken(message.scope, message.reason);
        return;
      case 'LOG_DROPPED':
        return this.#emit('dropped', { count: message.count, why: message.why });
      case 'LOG_UPLOAD_COMPLETE':
      case 'STATS':
      case 'LOG_WORKER_TERMINATED':
        return this.#requests.settle(message.request, message);
      case 'LOG_UPLOAD_FAILED':
      case 'LOG_WORKER_ERROR': {
        const error = new LogferryError(message.error, message.code, message.retryInMs);
        this.#requests.settle(message.request, error);
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
    if (this.#kept.length) this.#waitingSince = Date.now();
    else this.#waitingSince = this.#chars = 0;
    if (this.#saved) this.#save();
  }

  async #answerToken(scope: Scope, reason: 'start' | 'expired'): Promise<void> {
    let joinToken: string | null = null;
    try {
      joinToken = await this.#getToken({ scope, reason });
    } catch (error) {
      this.#emit('error', new LogferryError(`getToken failed: ${reasonOf(error)}`, 'AUTH_FAILED'));
    }
    this.#send({ command: 'TOKEN', scope, joinToken });
  }

  /** Copies what is not stored yet to where it stays when the page ends now. */
  #save(): void {
    if (this.#survives) return;
    this.#saved = this.#kept.length > 0 || this.#over !== undefined;
    saveExit(this.#tab, this.#kept, Date.now(), this.#over);
  }

  /** Sends the page's form, now or never, and writes down which; whether it was sent. */
  #sendForm(ends: boolean): boolean {
    const beacon = this.#beacon;
    // Without a line there was no form.
    if (!beacon || this.#group === 0) return false;
    this.#over = { visit: beacon.visit, sent: ends ? beacon.ready(Date.now()) : undefined };
    this.#save();
    if (this.#over.sent && beacon.send()) {
      // Lines that come now are not in it: they are those of another tab.
      this.#beacon = null;
      [this.#tab, this.#group, this.#kept, this.#over] = [newId(), 0, [], undefined];
      return true;
    }
    this.#over.sent = undefined;
    beacon.forget();
    return false;
  }

  #watch(): void {
    watchPage(
      this.off.signal,
      (state, ends) => {
        // Chromium hides a page after it was left.
        const here = !this.#leaving;
        if (state === 'leaving') this.#leaving = true;
        this.post();
        if (here)
          this.#send({ command: 'PAGE', state: this.#leaving && this.#sendForm(ends) ? 'sent' : state });
        this.#save();
      },
      () => {
        this.#leaving = false;
        this.#send({ command: 'PAGE', state: 'visible' });
        if (this.#over) this.#beacon?.want();
        this.#over = undefined;
        if (this.#saved) this.#save();
      },
      (online) => {
        this.#retry();
        this.#send({ command: 'NETWORK', online });
      },
    );
  }

  #emit<E extends keyof Events>(event: E, value: Parameters<Events[E]>[0]): void {
    for (const one of this.#listeners) {
      try {
        if (one.event === event) one.listener(value as never);
      } catch (error) {
        reportError(error);
      }
    }
  }
}
