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
  const { level, sessionId, seq } = entry;
  const date = dateOf(entry.time);
  const message = harmless(entry.message, redactor);
  const context = entry.context && (plainValue(entry.context, redactor) as Entry['context']);
  const id = context?.request_id ?? context?.requestId;
  const hasId = typeof id === 'string' || typeof id === 'number';
  const render = (msg: string, context: unknown, truncated?: true): string => {
    if (format === 'text') {
      const tail = `${context ? ` ${JSON.stringify(context)}` : ''}${truncated ? ' truncated: true' : ''}`;
      return `${date.toISOString()} [${level}] ${indented(msg)}${tail}`;
    }
    // Three times as fast as JSON of it all.
    return (
      `{"time":${+date},"level":"${level.toLowerCase()}","msg":${JSON.stringify(msg)}` +
      (context ? `,"context":${JSON.stringify(context)}` : '') +
      (hasId ? `,"request_id":${JSON.stringify(`${id}`)}` : '') +
      (truncated ? ',"truncated":true' : '') +
      (sessionId ? `,"sessionId":"${sessionId}","seq":${seq}` : '') +
      '}'
    );
  };
  const fits = (text: string) => text.length * 3 <= maxBytes || utf8Length(text) <= maxBytes;
  let text = render(message, context);
  // Escapes make a text longer than it is, so the share that fits is found by trying.
  for (let keep = maxBytes; keep > 64 && !fits(text); keep *= 0.6) {
    const share = context ? keep / 2 : keep;
    const rest = context && { cut: cut(JSON.stringify(context), share) };
    text = render(cut(message, share), rest, true);
  }
  return fits(text) ? text : render('', undefined, true);
}

/** No line of a message begins at the margin: there a header or an object would begin another record. */
const indented = (message: string): string => message.replace(/\n(?![ \t])/g, '\n  ');

/** A date that is none becomes 1970. */
export const dateOf = (time: number): Date => new Date(new Date(time).getTime() || 0);

/** The message of whatever was logged: texts as they are, errors with stack and `causes`, objects as JSON. */
export function messageOf(value: unknown, redactor: Redactor | null, causes = 4): string {
  if (typeof value === 'string') return value;
  if (value instanceof Error) {
    const { message, cause } = value;
    const stack = `${value.stack ?? ''}`;
    const said = String(value);
    // In Firefox and Safari it has nothing but frames.
    const whole = stack.includes(message ? `: ${message}` : said) ? stack : `${said}\n${stack}`.trimEnd();
    return cause === undefined || !causes
      ? whole
      : `${whole}\nCaused by: ${messageOf(cause, redactor, causes - 1)}`;
  }
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
      return harmless(value, redactor);
    }
    if (typeof value === 'function') return `[function ${value.name}]`;
    if (typeof value === 'bigint' || typeof value === 'symbol') return String(value);
    if (typeof value !== 'object' || value === null) return value;
    if (above.includes(value)) return '[circular]';
    if (above.length >= MAX_DEPTH) return '[deep]';
    const path = [...above, value];
    if (typeof Node !== 'undefined' && value instanceof Node) return `[${value.nodeName.toLowerCase()}]`;
    // What is over is not even visited.
    const fits = Math.max(0, room) / 8;
    if (Array.isArray(value)) {
      // The name of a pair's second may tell a secret.
      const [first] = value.length === 2 ? value : [];
      const nameAt = (at: number) => (at === 1 && typeof first === 'string' ? first : '');
      const copies = value.slice(0, fits).map((element, at) => copyOf(element, nameAt(at), path));
      return value.length > fits ? [...copies, '[cut]'] : copies;
    }
    if (ArrayBuffer.isView(value)) return `[${value.constructor.name} ${value.byteLength}]`;
    if (value instanceof Map || value instanceof Set) return copyOf([...value], '', path);
    try {
      const { toJSON } = value as { toJSON?: unknown };
      if (typeof toJSON === 'function') return copyOf(toJSON.call(value, name), '', path);
    } catch {
      // Copied by its fields.
    }
    const copied = (key: string) => {
      try {
        return copyOf((value as Record<string, unknown>)[key], key, path);
      } catch {
        // Its getter throws.
        return '[unreadable]';
      }
    };
    // Defines the fields, as an assignment does not: a key may be `__proto__`.
    const keys = value instanceof Error ? ERROR_FIELDS : Object.keys(value).slice(0, fits);
    return Object.fromEntries(keys.map((key) => [harmless(key, redactor), copied(key)]));
  };

  return copyOf(root, '', []);
}

const ERROR_FIELDS = ['name', 'message', 'stack', 'cause'];

/** A text without secrets. Lone surrogates become U+FFFD, as they do in UTF-8. */
const harmless = (text: string, redactor: Redactor | null): string =>
  (redactor ? redactor.text(text) : text).replace(/\p{Cs}/gu, '\uFFFD');

const encoder = /* @__PURE__ */ new TextEncoder();

export const utf8Length = (text: string): number => encoder.encode(text).length;

/** At most `maxBytes` of UTF-8, never half a character. */
function cut(text: string, maxBytes: number): string {
  const { read } = encoder.encodeInto(text, new Uint8Array(maxBytes));
  return text.slice(0, read);
}
