/** `createLogger`: levels, context and formatting in front of the client. Does nothing on a server. */

import { newId } from '../host/clock.ts';
import type { HostChoice, Hosts } from '../host/host.ts';
import { LogClient } from './client.ts';
import { type Entry, line, messageOf } from './format.ts';
import { redactor } from './redact.ts';
import {
  DEFAULTS,
  type Events,
  type FlushOptions,
  type Format,
  LEVELS,
  type Level,
  type RedactOptions,
  type Scope,
  type Stats,
  type Summary,
  type TokenCallback,
} from './types.ts';
import { type WorkerOption, workerHosts } from './workers.ts';

export type Message = unknown | (() => unknown);
export type Context = Record<string, unknown>;

export interface LoggerOptions {
  /** Where the API is, such as `https://abc.execute-api.eu-central-1.amazonaws.com`. */
  endpoint: string;
  /** Gets a join token for a scope from your own server; `null` if it cannot be had. */
  getToken: TokenCallback;
  scope: Scope;
  level?: Level | 'OFF';
  /** Upload by itself: after `flushIntervalMs`, at `flushBytes`, after an ERROR, when the page is hidden. */
  autoUpload?: boolean;
  flushIntervalMs?: number;
  flushBytes?: number;
  maxBytes?: number;
  maxEntries?: number;
  maxAgeMs?: number;
  /** Longer entries are cut and marked (bytes). */
  maxEntryBytes?: number;
  format?: Format;
  redact?: boolean | RedactOptions;
  /** `false`: times stay as the browser's clock says, even if it is wrong. */
  correctClock?: boolean;
  /** Changes an entry, or drops it with `null`. */
  beforeSend?: (entry: Entry) => Entry | null;
  /** Goes with every entry. */
  context?: Context;
  /** Also log uncaught errors and rejections. */
  captureErrors?: boolean;
  worker?: WorkerOption;
  host?: HostChoice;
}

export interface Logger {
  debug(message: Message, context?: Context): void;
  info(message: Message, context?: Context): void;
  warn(message: Message, context?: Context): void;
  error(message: Message, context?: Context): void;
  /** A logger whose entries also carry `context`. */
  child(context: Context): Logger;
  setLevel(level: Level | 'OFF'): void;
  /** Resolves when everything logged before is in S3; rejects with a `LogferryError`, and the lines stay. */
  flush(options?: FlushOptions): Promise<Summary>;
  stats(): Promise<Stats>;
  /** Returns what removes the listener. */
  on<E extends keyof Events>(event: E, listener: Events[E]): () => void;
  /** The entries that follow belong to another meeting or attendee. */
  setScope(scope: Scope): void;
  /** Hands over what was logged and ends; what is not uploaded waits for the next visit. */
  destroy(): Promise<void>;
}

const isMobile = (): boolean => /Mobi|Android/i.test(navigator.userAgent);

export function createLogger(options: LoggerOptions): Logger {
  if (typeof window === 'undefined') return silent;
  const { endpoint, getToken, scope, host = 'auto', worker } = options;
  const mobile = isMobile();
  const config = {
    presignedUrlEndpoint: presignedUrl(endpoint),
    ...scope,
    autoUpload: options.autoUpload ?? true,
    flushIntervalMs: options.flushIntervalMs ?? (mobile ? 90_000 : DEFAULTS.flushIntervalMs),
    flushBytes: options.flushBytes ?? (mobile ? 256 << 10 : DEFAULTS.flushBytes),
    maxBytes: options.maxBytes ?? (mobile ? 10 << 20 : DEFAULTS.maxBytes),
    maxEntries: options.maxEntries ?? 100_000,
    maxAgeMs: options.maxAgeMs ?? DEFAULTS.maxAgeMs,
    format: options.format ?? ('ndjson' as const),
    correctClock: options.correctClock ?? true,
  };
  const hosts: Hosts = workerHosts(worker);
  const client = new LogClient(config, hosts, host, getToken);
  const root = new PageLogger(client, options, config.format);
  if (options.captureErrors) root.onDestroy = captureErrors(root);
  return root;
}

/** The address of `POST /presigned-url`, from that of the API or as it is. */
export const presignedUrl = (endpoint: string): string => {
  const base = new URL(endpoint, location.href).href.replace(/\/$/, '');
  return base.endsWith('/presigned-url') ? base : `${base}/presigned-url`;
};

/** What all children of a logger share. */
interface Shared {
  level: number;
  seq: number;
  readonly sessionId: string;
}

class PageLogger implements Logger {
  readonly #client: LogClient;
  readonly #options: LoggerOptions;
  readonly #format: Format;
  readonly #context: Context | undefined;
  readonly #shared: Shared;
  readonly #redactor: ReturnType<typeof redactor>;
  readonly #maxBytes: number;
  onDestroy: () => void = nothing;

  constructor(
    client: LogClient,
    options: LoggerOptions,
    format: Format,
    parent?: PageLogger,
    context?: Context,
  ) {
    this.#client = client;
    this.#options = options;
    this.#format = format;
    this.#context = context ?? options.context;
    this.#maxBytes = options.maxEntryBytes ?? DEFAULTS.maxEntryBytes;
    this.#redactor = parent ? parent.#redactor : redactor(options.redact);
    this.#shared = parent ? parent.#shared : { level: 0, seq: 0, sessionId: newId().slice(0, 16) };
    if (!parent) this.setLevel(options.level ?? 'INFO');
  }

  debug(message: Message, context?: Context): void {
    if (this.#shared.level <= 0) this.#log('DEBUG', message, context);
  }

  info(message: Message, context?: Context): void {
    if (this.#shared.level <= 1) this.#log('INFO', message, context);
  }

  warn(message: Message, context?: Context): void {
    if (this.#shared.level <= 2) this.#log('WARN', message, context);
  }

  error(message: Message, context?: Context): void {
    if (this.#shared.level <= 3) this.#log('ERROR', message, context);
  }

  child(context: Context): Logger {
    return new PageLogger(this.#client, this.#options, this.#format, this, { ...this.#context, ...context });
  }

  setLevel(level: Level | 'OFF'): void {
    const at = LEVELS.indexOf(level as Level);
    this.#shared.level = at < 0 ? LEVELS.length : at;
  }

  async flush(options?: FlushOptions): Promise<Summary> {
    const { uploaded, files, dropped } = await this.#client.flush(options);
    return { uploaded, files, dropped };
  }

  stats(): Promise<Stats> {
    return this.#client.stats();
  }

  on<E extends keyof Events>(event: E, listener: Events[E]): () => void {
    return this.#client.on(event, listener);
  }

  setScope(scope: Scope): void {
    this.#client.setScope(scope);
  }

  destroy(): Promise<void> {
    this.onDestroy();
    return this.#client.destroy();
  }

  /** Never throws: a log line is not worth an application's failure. */
  #log(level: Level, message: Message, context?: Context): void {
    const time = Date.now();
    try {
      const said = typeof message === 'function' ? (message as () => unknown)() : message;
      const all = this.#context || context ? { ...this.#context, ...context } : undefined;
      let entry: Entry | null = { time, level, message: messageOf(said, this.#redactor), context: all };
      if (this.#options.beforeSend) entry = this.#options.beforeSend(entry);
      if (!entry) return;
      this.#shared.seq += 1;
      entry.sessionId = this.#shared.sessionId;
      entry.seq = this.#shared.seq;
      this.#client.add(line(entry, this.#format, this.#maxBytes, this.#redactor), level === 'ERROR');
    } catch (error) {
      const text = `logferry: an entry could not be formatted: ${error instanceof Error ? error.message : 'unknown'}`;
      this.#client.add(
        line({ time, level: 'WARN', message: text }, this.#format, this.#maxBytes, null),
        false,
      );
    }
  }
}

/** Returns what ends listening. */
function captureErrors(logger: Logger): () => void {
  const onError = ({ error, message, filename, lineno }: ErrorEvent) => {
    logger.error(error ?? message, { source: 'window.onerror', filename, lineno });
  };
  const onRejection = ({ reason }: PromiseRejectionEvent) => {
    logger.error(reason, { source: 'unhandledrejection' });
  };
  window.addEventListener('error', onError);
  window.addEventListener('unhandledrejection', onRejection);
  return () => {
    window.removeEventListener('error', onError);
    window.removeEventListener('unhandledrejection', onRejection);
  };
}

const nothing = (): void => {};

/** The logger on a server. */
const silent: Logger = {
  debug: nothing,
  info: nothing,
  warn: nothing,
  error: nothing,
  child: () => silent,
  setLevel: nothing,
  flush: async () => ({ uploaded: 0, files: [], dropped: 0 }),
  stats: async () => ({
    host: 'none',
    storage: 'memory',
    entries: 0,
    bytes: 0,
    batches: 0,
    refused: 0,
    dropped: 0,
  }),
  on: () => nothing,
  setScope: nothing,
  destroy: async () => {},
};
