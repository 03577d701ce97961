/** The page's side of a form for its last lines: what it would send, and the one moment when it does. */

import type { Message } from '../host/port.ts';

/** The most that is sent (bytes): beacons of a page have 64 KiB together, and the form's fields take 2.5 KiB. */
const MAX_BYTES = 55_000;

/** What the host gives: where to, with which fields, and the first group that the form must have. */
export interface Form {
  key: string;
  url: string;
  fields: Record<string, string>;
  /** When it ends (ms). */
  until: number;
  from: number;
  visit: number;
}

export class Beacon {
  /** Counts what follows a start or a return from the back/forward cache: forms of an earlier visit are void. */
  visit = 0;
  #form: Form | null = null;
  /** All groups from `#begin` on: what a form may have to hold. */
  #groups: { group: number; text: string }[] = [];
  #begin = 1;
  #chars = 0;
  readonly #say: (message: Message) => void;

  constructor(say: (message: Message) => void) {
    this.#say = say;
  }

  /** Asks the host for forms. It hears that those of earlier visits are never sent. */
  want(): void {
    this.visit += 1;
    this.#form = null;
    this.#say({ command: 'EXIT_FORM', wanted: this.visit });
  }

  /** Takes a group that is about to be posted. If they become too many, they go the ordinary way alone. */
  add(group: number, lines: string[]): void {
    const text = `${lines.join('\n')}\n`;
    this.#chars += text.length;
    this.#groups.push({ group, text });
    if (this.#chars > MAX_BYTES) this.drop();
  }

  /** A form from the host, or the question for it, so that the host can send the lines. */
  receive({ form, recalled }: Message): void {
    if (recalled !== undefined) this.forget(recalled);
    else if (form.visit !== this.visit || form.from < this.#begin) this.forget(form.key);
    else {
      this.#keep(form.from);
      this.#form = form;
    }
  }

  /** Groups up to now go without a form. */
  drop(): void {
    this.#keep((this.#groups.at(-1)?.group ?? this.#begin - 1) + 1);
    this.forget();
  }

  /** Tells the host that a form is never sent. */
  forget(key = this.#form?.key): void {
    this.#form = null;
    if (key !== undefined) this.#say({ command: 'EXIT_FORM', forgotten: key });
  }

  /** The key that `send` would send to now. */
  ready(nowMs: number): string | undefined {
    return this.#groups.length > 0 && nowMs < (this.#form?.until ?? 0) ? this.#form?.key : undefined;
  }

  /** A form needs no preflight, which a closing page does not live to see. */
  send(): boolean {
    if (!this.#form) return false;
    const file = new Blob([this.#text]);
    if (file.size > MAX_BYTES) return false;
    const body = new FormData();
    for (const [name, value] of Object.entries(this.#form.fields)) body.append(name, value);
    body.append('file', file);
    return navigator.sendBeacon(this.#form.url, body);
  }

  get #text(): string {
    return this.#groups.map(({ text }) => text).join('');
  }

  #keep(from: number): void {
    this.#begin = from;
    this.#groups = this.#groups.filter(({ group }) => group >= from);
    this.#chars = this.#text.length;
  }
}
