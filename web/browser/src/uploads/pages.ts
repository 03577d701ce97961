/** The pages of one worker: every message goes to all of them, and any of them can give a token. */

import type { Clock } from '../host/clock.ts';
import type { Port } from '../host/port.ts';
import type { TokenReason } from './api.ts';
import type { UploadWorkerResponse } from './protocol.ts';

/** A page that gives no token for so long may be frozen or gone: the next one is asked (ms). */
const TOKEN_MS = 10_000;

export class Pages {
  readonly #clock: Clock;
  #ports: Port[] = [];
  #asked = new Map<number, { ask(): void; end(token: string | null): void }>();
  #calls = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  add(port: Port): void {
    this.remove(port);
    this.#ports.push(port);
    for (const { ask } of this.#asked.values()) ask();
  }

  remove(port: Port): void {
    this.#ports = this.#ports.filter((other) => other !== port);
  }

  tell(message: UploadWorkerResponse): void {
    for (const port of this.#ports) send(port, message);
  }

  /**
   * The first answer decides, however late it comes. The newest page is asked, later the others and it again;
   * without any page it waits for one.
   */
  token(reason: TokenReason): Promise<string | null> {
    this.#calls += 1;
    const call = this.#calls;
    return new Promise((resolve) => {
      let wait = 0;
      let cancel = () => {};
      const ask = () => {
        cancel();
        const port = this.#ports.at(-1);
        if (!port) return;
        wait += TOKEN_MS;
        cancel = this.#clock.after(wait, () => {
          // It gets every message still, but is asked last.
          if (this.#ports.at(-1) === port) this.#ports = [port, ...this.#ports.slice(0, -1)];
          ask();
        });
        send(port, { type: 'TOKEN_NEEDED', call, reason });
      };
      const end = (token: string | null) => {
        cancel();
        this.#asked.delete(call);
        resolve(token);
      };
      this.#asked.set(call, { ask, end });
      ask();
    });
  }

  answer(call: number, token: unknown): void {
    this.#asked.get(call)?.end(typeof token === 'string' && token !== '' ? token : null);
  }
}

type ToPage =
  | UploadWorkerResponse
  | { type: 'UPLOAD_WORKER_READY' }
  | { type: 'TOKEN_NEEDED'; call: number; reason: TokenReason };

/** The kind of the message stands under both names. */
export function send(port: Port, message: ToPage): void {
  port.postMessage({ command: message.type, ...message });
}
