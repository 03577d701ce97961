/** Questions to the host that wait for their answer. */

import { MAX_TIMER_MS, newId } from '../host/clock.ts';
import type { Message } from '../host/port.ts';
import { LogferryError } from './error.ts';

interface Open {
  message: Message;
  settle(outcome: Message | LogferryError): void;
}

export class Requests {
  readonly #send: (message: Message) => void;
  readonly #silent: () => void;
  readonly #open = new Map<string, Open>();
  /** What every question ends with. */
  failed: LogferryError | null = null;

  /** `silent` is called when the host does not answer in time. */
  constructor(send: (message: Message) => void, silent: () => void) {
    this.#send = send;
    this.#silent = silent;
  }

  ask(message: Message, withinMs: number): Promise<Message> {
    return new Promise((resolve, reject) => {
      if (this.failed) return reject(this.failed);
      const request = newId();
      const sent = { ...message, request };
      const settle = (outcome: Message | LogferryError) => {
        clearTimeout(timer);
        this.#open.delete(request);
        if (outcome instanceof LogferryError) reject(outcome);
        else resolve(outcome);
      };
      const timer = setTimeout(
        () => {
          settle(new LogferryError('no answer', 'HOST_LOST'));
          this.#silent();
        },
        Math.min(withinMs, MAX_TIMER_MS),
      );
      this.#open.set(request, { message: sent, settle });
      this.#send(sent);
    });
  }

  /** Takes what a question ends with. */
  settle(request: string, outcome: Message | LogferryError): void {
    this.#open.get(request)?.settle(outcome);
  }

  /** Asks another host the same. */
  resend(): void {
    for (const { message } of this.#open.values()) this.#send(message);
  }

  /** Refuses what waits and all that follows. */
  fail(error: LogferryError): void {
    this.failed = error;
    for (const { settle } of this.#open.values()) settle(error);
  }
}
