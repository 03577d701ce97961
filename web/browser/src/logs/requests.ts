/** Questions to the host that wait for their answer. */

import { newId } from '../host/clock.ts';
import type { Message } from '../host/port.ts';
import { LogferryError } from './error.ts';

interface Open {
  message: Message;
  timer: ReturnType<typeof setTimeout>;
  resolve(answer: Message): void;
  reject(error: LogferryError): void;
}

export class Requests {
  readonly #send: (message: Message) => void;
  readonly #silent: () => void;
  readonly #open = new Map<string, Open>();
  #failed: LogferryError | null = null;

  /** `silent` is called when the host does not answer in time. */
  constructor(send: (message: Message) => void, silent: () => void) {
    this.#send = send;
    this.#silent = silent;
  }

  ask(message: Message, withinMs: number): Promise<Message> {
    if (this.#failed) return Promise.reject(this.#failed);
    const request = newId();
    const sent = { ...message, request };
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#open.delete(request);
        reject(new LogferryError('the log worker does not answer', 'HOST_LOST'));
        this.#silent();
      }, withinMs);
      this.#open.set(request, { message: sent, timer, resolve, reject });
      this.#send(sent);
    });
  }

  /** Takes an answer to its question; an answer without `request` to every question of `command`. */
  answer(answer: Message, command?: string): void {
    for (const [request, { message, timer, resolve }] of this.#open) {
      if (command ? message.command !== command : request !== answer.request) continue;
      clearTimeout(timer);
      this.#open.delete(request);
      resolve(answer);
    }
  }

  refuse(request: string, error: LogferryError): void {
    const open = this.#open.get(request);
    if (!open) return;
    clearTimeout(open.timer);
    this.#open.delete(request);
    open.reject(error);
  }

  /** Asks another host the same. */
  resend(): void {
    for (const { message } of this.#open.values()) this.#send(message);
  }

  /** Refuses what waits and all that follows. */
  fail(error: LogferryError): void {
    this.#failed = error;
    for (const request of [...this.#open.keys()]) this.refuse(request, error);
  }
}
