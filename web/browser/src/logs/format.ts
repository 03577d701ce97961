/** Entries as lines of a log file. Pure; nothing that an application logs makes it throw. */

import type { Format, Level } from './types.ts';

export interface Entry {
  time: number;
  level: Level;
  message: string;
  context?: Record<string, unknown> | undefined;
  sessionId?: string | undefined;
  seq?: number | undefined;
}

/** What redaction does to texts, and to the values of fields by their names. */
export interface Redactor {
  text(text: string): string;
  hides(name: string): boolean;
}

export const MASK = '[redacted]';
const MAX_DEPTH = 12;

/** An entry as one line without its line break. Over `maxBytes` the message and the context are cut. */
export function line(entry: Entry, format: Format, maxBytes: number, redactor: Redactor | null): string {
  const message = wellFormed(redactor ? redactor.text(entry.message) : entry.message);
  const context = entry.context && contextJson(entry.context, redactor);
  const whole = render(entry, format, message, context, false);
  if (whole.length * 3 <= maxBytes || utf8Length(whole) <= maxBytes) return whole;
  // Escapes make a text longer than it is, so the share that fits is found by trying.
  for (let keep = maxBytes; keep > 64; keep = Math.floor(keep * 0.6)) {
    const [ofMessage, ofContext] = context ? [keep / 2, keep / 2] : [keep, 0];
    const rest = context && JSON.stringify({ cut: cut(context, ofContext) });
    const shorter = render(entry, format, cut(message, ofMessage), rest, true);
    if (utf8Length(shorter) <= maxBytes) return shorter;
  }
  return render(entry, format, '', undefined, true);
}

function render(
  entry: Entry,
  format: Format,
  message: string,
  context: string | undefined,
  truncated: boolean,
): string {
  if (format === 'text') {
    const tail = `${context ? ` ${context}` : ''}${truncated ? ' truncated: true' : ''}`;
    return `${isoTime(entry.time)} [${entry.level}] ${harmless(message)}${tail}`;
  }
  const id = requestId(entry.context);
  return (
    `{"time":${entry.time},"level":"${entry.level.toLowerCase()}","msg":${JSON.stringify(message)}` +
    (context ? `,"context":${context}` : '') +
    (id === undefined ? '' : `,"request_id":${JSON.stringify(id)}`) +
    (truncated ? ',"truncated":true' : '') +
    (entry.sessionId ? `,"sessionId":"${entry.sessionId}","seq":${entry.seq}` : '') +
    '}'
  );
}

/** A line break before what would read as the header of another record is followed by two spaces. */
const harmless = (message: string): string =>
  message.includes('\n') ? message.replace(/\n(?=\d{4}-\d\d-\d\dT)/g, '\n  ') : message;

/** A date that is none becomes 1970. */
export function isoTime(time: number): string {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? new Date(0).toISOString() : date.toISOString();
}

function requestId(context: Record<string, unknown> | undefined): string | undefined {
  const id = context?.request_id ?? context?.requestId;
  return typeof id === 'string' || typeof id === 'number' ? wellFormed(String(id)) : undefined;
}

/** The message of whatever was logged: texts as they are, errors with their stack, objects as JSON. */
export function messageOf(value: unknown, redactor: Redactor | null): string {
  if (typeof value === 'string') return value;
  if (value instanceof Error) return value.stack || `${value.name}: ${value.message}`;
  return typeof value === 'object' && value !== null ? contextJson(value, redactor) : String(value);
}

function contextJson(context: object, redactor: Redactor | null): string {
  const replacer = (name: string, value: unknown) => plainValue(name, value, redactor);
  try {
    const text = JSON.stringify(context, replacer);
    // An escaped surrogate stands alone, and no parser takes it.
    if (text !== undefined && !/\\u[dD][89a-fA-F]/.test(text)) return text;
  } catch {
    // Circular, or a getter or toJSON throws: copied piece by piece.
  }
  return JSON.stringify(copy(context, redactor, [], '')) ?? 'null';
}

/** What JSON has no word for becomes something that it has. */
function plainValue(name: string, value: unknown, redactor: Redactor | null): unknown {
  if (name && redactor?.hides(name) && value !== null && value !== undefined) return MASK;
  switch (typeof value) {
    case 'string':
      return redactor ? redactor.text(value) : value;
    case 'bigint':
      return String(value);
    case 'function':
      return `[function ${value.name}]`;
    case 'symbol':
      return String(value);
    case 'object':
      if (value instanceof Error) {
        const { name, message, stack, cause } = value;
        return { name, message, stack, cause };
      }
      if (value instanceof Map || value instanceof Set) return [...value];
      if (typeof Node !== 'undefined' && value instanceof Node) return `[${value.nodeName.toLowerCase()}]`;
      return value;
    default:
      return value;
  }
}

function copy(value: unknown, redactor: Redactor | null, above: object[], name: string): unknown {
  const plain = plainValue(name, value, redactor);
  if (typeof plain === 'string') return wellFormed(plain);
  if (typeof plain !== 'object' || plain === null) return plain;
  if (above.includes(plain)) return '[circular]';
  if (above.length >= MAX_DEPTH) return '[deep]';
  const path = [...above, plain];
  if (Array.isArray(plain)) return plain.map((element) => copy(element, redactor, path, ''));
  if (plain instanceof Date) return isoTime(plain.getTime());
  const result: Record<string, unknown> = {};
  for (const key of Object.keys(plain)) {
    let child: unknown;
    try {
      child = (plain as Record<string, unknown>)[key];
    } catch {
      child = '[unreadable]';
    }
    // Defined, not assigned: a key may be `__proto__`.
    const content = copy(child, redactor, path, key);
    Object.defineProperty(result, wellFormed(key), { value: content, enumerable: true, configurable: true });
  }
  return result;
}

const LONE = /[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/g;

/** Lone surrogates become U+FFFD, as they do in UTF-8. */
function wellFormed(text: string): string {
  const own = text as string & { toWellFormed?: () => string };
  if (own.toWellFormed) return own.toWellFormed();
  return text.replace(LONE, '\uFFFD');
}

let encoder: TextEncoder | undefined;

export function utf8Length(text: string): number {
  encoder ??= new TextEncoder();
  return encoder.encode(text).length;
}

/** At most `maxBytes` of UTF-8, never half a character. */
function cut(text: string, maxBytes: number): string {
  encoder ??= new TextEncoder();
  const bytes = new Uint8Array(Math.max(0, Math.floor(maxBytes)));
  const { read } = encoder.encodeInto(text, bytes);
  return text.slice(0, read);
}
