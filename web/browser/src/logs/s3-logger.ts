/** `S3Logger`: the surface of the Amazon Chime SDK branch that this client replaces, with its defaults. */

import type { HostChoice } from '../host/host.ts';
import { valuesOf } from '../host/port.ts';
import { LogClient } from './client.ts';
import { reasonOf } from './error.ts';
import { line, messageOf, type Redactor } from './format.ts';
import { presignedUrl } from './logger.ts';
import { redactor } from './redact.ts';
import { type Events, type Format, LEVELS, MAX_ENTRY_BYTES, type Scope, type Stats } from './types.ts';
import { type WorkerOption, workerHosts } from './workers.ts';

export const LogLevel = { DEBUG: 0, INFO: 1, WARN: 2, ERROR: 3, OFF: 4 } as const;
export type LogLevel = (typeof LogLevel)[keyof typeof LogLevel];

export interface S3LoggerOptions {
  logLevel?: LogLevel;
  /** The address of `POST /presigned-url`. */
  presignedUrl: string;
  meetingId: string;
  attendeeId: string;
  joinToken: string;
  maxEntries?: number;
  maxBytes?: number;
  /** Interval of automatic uploads (ms); without it only `uploadLogs` does. */
  flushInterval?: number;
  enableRedaction?: boolean;
  customRedactionPatterns?: RegExp[];
  format?: Format;
  worker?: WorkerOption;
  host?: HostChoice;
  /** Gets a new token after `joinToken` has expired. */
  getToken?: (request: { scope: Scope; reason: 'start' | 'expired' }) => Promise<string | null>;
}

export class S3Logger {
  #level: LogLevel;
  readonly #client: LogClient | null;
  readonly #format: Format;
  readonly #redactor: Redactor | null;

  constructor(options: S3LoggerOptions) {
    this.#level = options.logLevel ?? LogLevel.INFO;
    this.#format = options.format ?? 'text';
    const patterns = options.customRedactionPatterns ?? [];
    this.#redactor = options.enableRedaction === false ? null : redactor({ patterns });
    if (typeof window === 'undefined') {
      this.#client = null;
      return;
    }
    const { flushInterval } = options;
    const config = {
      ...valuesOf(options),
      meetingId: options.meetingId,
      attendeeId: options.attendeeId,
      presignedUrlEndpoint: presignedUrl(options.presignedUrl),
      ...(flushInterval !== undefined && { autoUpload: true, flushIntervalMs: flushInterval }),
      format: this.#format,
    };
    const getToken = options.getToken ?? (() => null);
    this.#client = new LogClient(config, workerHosts(options.worker), options.host ?? 'auto', getToken);
  }

  debug(message: unknown | (() => unknown)): void {
    this.#log(LogLevel.DEBUG, message);
  }

  info(message: unknown | (() => unknown)): void {
    this.#log(LogLevel.INFO, message);
  }

  warn(message: unknown | (() => unknown)): void {
    this.#log(LogLevel.WARN, message);
  }

  error(message: unknown | (() => unknown)): void {
    this.#log(LogLevel.ERROR, message);
  }

  setLogLevel(level: LogLevel): void {
    this.#level = level;
  }

  getLogLevel(): LogLevel {
    return this.#level;
  }

  /** Resolves with `Successfully uploaded N logs` or `No logs to upload`. */
  async uploadLogs(): Promise<string> {
    return this.#client ? (await this.#client.flush()).message : 'No logs to upload';
  }

  async stats(): Promise<Stats | null> {
    return this.#client ? this.#client.stats() : null;
  }

  on<E extends keyof Events>(event: E, listener: Events[E]): () => void {
    return this.#client ? this.#client.on(event, listener) : () => {};
  }

  async destroy(): Promise<void> {
    await this.#client?.destroy();
  }

  #log(at: number, message: unknown): void {
    const level = LEVELS[at];
    if (!this.#client || !level || at < this.#level) return;
    const time = Date.now();
    let text: string;
    try {
      text = messageOf(typeof message === 'function' ? message() : message, this.#redactor);
    } catch (error) {
      text = `logferry: an entry could not be formatted: ${reasonOf(error)}`;
    }
    const entry = { time, level, message: text };
    this.#client.add(line(entry, this.#format, MAX_ENTRY_BYTES, this.#redactor), level === 'ERROR');
  }
}

export default S3Logger;
