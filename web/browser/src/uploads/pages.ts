/** The pages of one worker: every message goes to all of them, and any of them can give a token. */

import type { Clock } from '../host/clock.ts';
import type { Message, Port } from '../host/port.ts';
import type { TokenReason } from './api.ts';
import type { UploadWorkerResponse } from './protocol.ts';

/** A page that gives no token for so long is frozen or gone (ms). */
const TOKEN_MS = 10_000;

export class Pages {
  readonly #clock: Clock;
  #ports: Port[] = [];
  #asked = new Map<number, (token: string | null) => void>();
  #came: Array<() => void> = [];
  #calls = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  add(port: Port): void {
    if (!this.#ports.includes(port)) this.#ports.push(port);
    for (const go of this.#came.splice(0)) go();
  }

  remove(port: Port): void {
    this.#ports = this.#ports.filter((other) => other !== port);
  }

  tell(message: UploadWorkerResponse): void {
    for (const port of this.#ports) send(port, message);
  }

  /** The newest page that answers decides; without any page it waits for one. */
  async token(reason: TokenReason): Promise<string | null> {
    for (;;) {
      const port = this.#ports.at(-1);
      if (!port) await new Promise<void>((go) => this.#came.push(go));
      else {
        const token = await this.#ask(port, reason);
        if (token !== undefined) return token;
        this.remove(port);
      }
    }
  }

  answer(call: number, token: unknown): void {
    this.#asked.get(call)?.(typeof token === 'string' && token !== '' ? token : null);
  }

  /** `undefined`: no answer came. */
  #ask(port: Port, reason: TokenReason): Promise<string | null | undefined> {
    this.#calls += 1;
    const call = this.#calls;
    return new Promise((resolve) => {
      const end = (token: string | null | undefined) => {
        cancel();
        this.#asked.delete(call);
        resolve(token);
      };
      const cancel = this.#clock.after(TOKEN_MS, () => end(undefined));
      this.#asked.set(call, end);
      port.postMessage({ command: 'TOKEN_NEEDED', type: 'TOKEN_NEEDED', call, reason });
    });
  }
}

export function send(port: Port, message: UploadWorkerResponse): void {
  const named: Message = { command: message.type, ...message };
  port.postMessage(named);
}
