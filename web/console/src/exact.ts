// JSON of records, whose numbers keep their digits: JavaScript's numbers have no room for a 64-bit id, and would write
// 1.10 as 1.1.

import type { Json, LogRecord } from './types.ts';

/** What an exact number is inside a text of JSON, before its digits. No record contains it: it is made here. */
const MARK = `exact ${crypto.getRandomValues(new Uint32Array(4)).join(' ')}: `;
const MARKED = new RegExp(`"${MARK}([^"]*)"`, 'g');
/** A quote, a number, or what is escaped in a string. Whole strings, which may be long, would be matched by
 * backtracking. */
const TOKEN = /"|\\.|-?\d[\d.eE+-]*/g;

/** A number that JavaScript would write otherwise. */
export class Exact {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }

  toJSON(): string {
    return MARK + this.text;
  }
}

export function parse(text: string): unknown {
  let exact = false;
  let inString = false;
  const marked = text.replace(TOKEN, (token) => {
    if (token === '"') inString = !inString;
    if (inString || token === '"' || String(Number(token)) === token) return token;
    exact = true;
    return `"${MARK}${token}"`;
  });
  if (!exact) return JSON.parse(text);
  return JSON.parse(marked, (_, value: unknown) =>
    typeof value === 'string' && value.startsWith(MARK) ? new Exact(value.slice(MARK.length)) : value,
  );
}

/** Writes what {@link parse} has read. */
export function write(value: Json | LogRecord, indent?: number): string {
  return JSON.stringify(value, undefined, indent).replace(MARKED, '$1');
}
