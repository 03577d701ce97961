/** `createLogger`: levels, context and formatting in front of the client. Does nothing on a server. */

import { newId } from '../host/clock.ts';
import type { HostChoice } from '../host/host.ts';
import { valuesOf } from '../host/port.ts';
import { LogClient } from './client.ts';
import { reasonOf } from './error.ts';
import { type Entry, line, messageOf } from './format.ts';
import { redactor } from './redact.ts';
import {
  type Events,
  type FlushOptions,
  type Format,
  LEVELS,
  type Level,
  MAX_ENTRY_BYTES,
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

/** Phones have less room, and close pages sooner. */
const MOBILE = { flushIntervalMs: 90_000, flushBytes: 256 << 10, maxBytes: 10 << 20 };

export function createLogger(options: LoggerOptions): Logger {
  if (typeof window === 'undefined') return silent;
  const { format = 'ndjson', maxEntryBytes = MAX_ENTRY_BYTES, host = 'auto' } = options;
  const config = {
    ...(/Mobi|Android/i.test(navigator.userAgent) && MOBILE),
    autoUpload: true,
    maxEntries: 100_000,
    ...valuesOf(options),
    ...options.scope,
    format,
    presignedUrlEndpoint: presignedUrl(options.endpoint),
  };
  const client = new LogClient(config, workerHosts(options.worker), host, options.getToken);
  const rules = redactor(options.redact);
  const sessionId = newId().slice(0, 16);
  let seq = 0;
  let least = 0;

  const add = (entry: Entry): void =>
    client.add(line(entry, format, maxEntryBytes, rules), entry.level === 'ERROR');

  /** Never throws: a log line is not worth an application's failure. */
  const log = (level: Level, message: Message, own: Context | undefined, more: Context | undefined): void => {
    const time = Date.now();
    try {
      const context = own || more ? merged(own, more) : undefined;
      const said = typeof message === 'function' ? (message as () => unknown)() : message;
      let entry: Entry | null = { time, level, message: messageOf(said, rules), context };
      if (options.beforeSend) entry = options.beforeSend(entry);
      if (!entry) return;
      seq += 1;
      // `beforeSend` may return anything.
      add({ ...entry, message: messageOf(entry.message, rules), sessionId, seq });
    } catch (error) {
      add({ time, level: 'WARN', message: `logferry: an entry could not be formatted: ${reasonOf(error)}` });
    }
  };

  const setLevel = (level: Level | 'OFF'): void => {
    const at = LEVELS.indexOf(String(level).toUpperCase() as Level);
    least = at < 0 ? LEVELS.length : at;
  };

  const loggerOf = (own: Context | undefined): Logger => ({
    ...(Object.fromEntries(
      LEVELS.map((level, at) => [
        level.toLowerCase(),
        (message: Message, context?: Context) => {
          if (least <= at) log(level, message, own, context);
        },
      ]),
    ) as Pick<Logger, 'debug' | 'info' | 'warn' | 'error'>),
    child: (context) => loggerOf(merged(own, context)),
    setLevel,
    async flush(how) {
      const { uploaded, files, dropped } = await client.flush(how);
      return { uploaded, files, dropped };
    },
    stats: () => client.stats(),
    on: (event, listener) => client.on(event, listener),
    setScope: (scope) => client.setScope(scope),
    destroy: () => client.destroy(),
  });

  setLevel(options.level ?? 'INFO');
  const root = loggerOf(options.context);
  if (options.captureErrors) captureErrors(root, client.off.signal);
  return root;
}

/** The fields of all of these; later ones replace earlier ones. A getter that throws costs its own field only. */
export const merged = (...all: (object | undefined)[]): Context =>
  Object.fromEntries(
    all.flatMap((given) => {
      const from = (given instanceof Error ? { error: given } : (given ?? {})) as Context;
      return Object.keys(from).map((key) => {
        try {
          return [key, from[key]];
        } catch {
          return [key, '[unreadable]'];
        }
      });
    }),
  );

/** The address of `POST /presigned-url`, from that of the API or as it is. */
export const presignedUrl = (endpoint: string): string => {
  const base = new URL(endpoint, location.href).href.replace(/\/$/, '');
  return base.endsWith('/presigned-url') ? base : `${base}/presigned-url`;
};

function captureErrors(logger: Logger, signal: AbortSignal): void {
  addEventListener(
    'error',
    ({ error, message, filename, lineno }) =>
      logger.error(error ?? message, { source: 'window.onerror', filename, lineno }),
    { signal },
  );
  addEventListener(
    'unhandledrejection',
    ({ reason }) => logger.error(reason, { source: 'unhandledrejection' }),
    { signal },
  );
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
