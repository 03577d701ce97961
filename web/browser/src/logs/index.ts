export type { HostChoice, HostKind } from '../host/host.ts';
export { LogferryError } from './error.ts';
export type { Entry } from './format.ts';
export { type Context, createLogger, type Logger, type LoggerOptions } from './logger.ts';
export { pinoTransmit } from './pino.ts';
export { LogLevel, S3Logger, type S3LoggerOptions } from './s3-logger.ts';
export type {
  DropReason,
  Events,
  FlushOptions,
  Format,
  Level,
  LogFile,
  RedactOptions,
  Scope,
  Stats,
  Summary,
  TokenCallback,
  WorkerConfig,
} from './types.ts';
export type { WorkerOption } from './workers.ts';
