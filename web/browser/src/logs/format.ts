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
/** Objects inside objects that are written out. */
const MAX_DEPTH = 100;
/** The most of one value that is written out: its characters, and 8 for each value in it. A graph has too many paths. */
const MAX_SIZE = 1 << 20;

/** An entry as one line without its line break. Over `maxBytes` the message and the context are cut. */
export function line(entry: Entry, format: Format, maxBytes: number, redactor: Redactor | null): string {
  const message = wellFormed(redactor ? redactor.text(entry.message) : entry.message);
  const context = entry.context && plainValue(entry.context, redactor);
  const whole = render(entry, format, message, context);
  if (whole.length * 3 <= maxBytes || utf8Length(whole) <= maxBytes) return whole;
  // Escapes make a text longer than it is, so the share that fits is found by trying.
  for (let keep = maxBytes; keep > 64; keep = Math.floor(keep * 0.6)) {
    const [ofMessage, ofContext] = context ? [keep / 2, keep / 2] : [keep, 0];
    const rest = context && { cut: cut(JSON.stringify(context), ofContext) };
    const shorter = render(entry, format, cut(message, ofMessage), rest, true);
    if (utf8Length(shorter) <= maxBytes) return shorter;
  }
  return render(entry, format, '', undefined, true);
}

function render(entry: Entry, format: Format, msg: string, context: unknown, truncated?: true): string {
  const { time, level, sessionId, seq } = entry;
  if (format === 'text') {
    const tail = `${context ? ` ${JSON.stringify(context)}` : ''}${truncated ? ' truncated: true' : ''}`;
    return `${isoTime(time)} [${level}] ${harmless(msg)}${tail}`;
  }
  const id = entry.context?.request_id ?? entry.context?.requestId;
  const request_id = typeof id === 'string' || typeof id === 'number' ? wellFormed(String(id)) : undefined;
  // Three times as fast as JSON of it all.
  return (
    `{"time":${time},"level":"${level.toLowerCase()}","msg":${JSON.stringify(msg)}` +
    (context ? `,"context":${JSON.stringify(context)}` : '') +
    (request_id === undefined ? '' : `,"request_id":${JSON.stringify(request_id)}`) +
    (truncated ? ',"truncated":true' : '') +
    (sessionId ? `,"sessionId":"${sessionId}","seq":${seq}` : '') +
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

/** The message of whatever was logged: texts as they are, errors with their stack, objects as JSON. */
export function messageOf(value: unknown, redactor: Redactor | null): string {
  if (typeof value === 'string') return value;
  if (value instanceof Error) return value.stack || `${value.name}: ${value.message}`;
  return typeof value === 'object' && value !== null
    ? (JSON.stringify(plainValue(value, redactor)) ?? 'null')
    : String(value);
}

/** A copy of a value. What JSON has no word for becomes something that it has, and secrets become [`MASK`]. */
function plainValue(root: unknown, redactor: Redactor | null): unknown {
  let room = MAX_SIZE;

  const copyOf = (value: unknown, name: string, above: object[]): unknown => {
    if (name && redactor?.hides(name) && value !== null && value !== undefined) return MASK;
    if (room <= 0) return '[cut]';
    room -= 8;
    if (typeof value === 'string') {
      room -= value.length;
      return wellFormed(redactor ? redactor.text(value) : value);
    }
    if (typeof value === 'function') return `[function ${value.name}]`;
    if (typeof value === 'bigint' || typeof value === 'symbol') return String(value);
    if (typeof value !== 'object' || value === null) return value;
    if (above.includes(value)) return '[circular]';
    if (above.length >= MAX_DEPTH) return '[deep]';
    const path = [...above, value];
    if (typeof Node !== 'undefined' && value instanceof Node) return `[${value.nodeName.toLowerCase()}]`;
    if (Array.isArray(value)) return value.map((element) => copyOf(element, '', path));
    if (value instanceof Map || value instanceof Set) return copyOf([...value], '', path);
    try {
      const { toJSON } = value as { toJSON?: unknown };
      if (typeof toJSON === 'function') return copyOf(toJSON.call(value, name), '', path);
    } catch {
      // Copied by its fields.
    }
    const fields = (value instanceof Error ? errorFields(value) : value) as Record<string, unknown>;
    const copied = (key: string) => {
      try {
        return copyOf(fields[key], key, path);
      } catch {
        // Its getter throws.
        return '[unreadable]';
      }
    };
    // Defines the fields, as an assignment does not: a key may be `__proto__`.
    return Object.fromEntries(Object.keys(fields).map((key) => [wellFormed(key), copied(key)]));
  };

  return copyOf(root, '', []);
}

const errorFields = ({ name, message, stack, cause }: Error) => ({ name, message, stack, cause });

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
