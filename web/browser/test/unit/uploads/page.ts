/** A page without a browser: its events, its workers and what they post. */

import type { Message } from '../../../src/host/port.ts';
import { Uploads } from '../../../src/uploads/client.ts';
import type { UploadsOptions } from '../../../src/uploads/settings.ts';

/** A dedicated worker that answers the first message, and every command if `answers`. */
export class FakeWorker extends EventTarget {
  readonly posted: Message[] = [];
  onmessage: ((event: { data: Message }) => void) | null = null;
  terminated = false;
  answers = true;

  postMessage(message: Message): void {
    this.posted.push(message);
    const first = message.command === 'UPLOAD_WORKER_INITIALIZE';
    const answer = first ? { command: 'UPLOAD_WORKER_READY' } : { type: 'ANSWER', request: message.request };
    if (first || this.answers) queueMicrotask(() => this.tell(answer as Message));
  }

  tell(message: object): void {
    if (!this.terminated) this.onmessage?.({ data: message as Message });
  }

  terminate(): void {
    this.terminated = true;
  }

  die(): void {
    this.dispatchEvent(new Event('error', { cancelable: true }));
  }
}

/** A page whose workers are `workers`, in the order of their start; none starts while `broken`. */
export class Page {
  readonly window = new EventTarget();
  readonly workers: FakeWorker[] = [];
  readonly reported: unknown[] = [];
  broken = false;

  constructor() {
    const { window } = this;
    Object.assign(globalThis, {
      window,
      addEventListener: (type: string, listener: EventListener, options?: AddEventListenerOptions) => {
        // The host in the page itself listens without a signal.
        if (!options?.signal) throw new Error('the chunk did not load');
        window.addEventListener(type, listener, options);
      },
      removeEventListener: window.removeEventListener.bind(window),
      reportError: (error: unknown) => this.reported.push(error),
    });
  }

  client(): Uploads {
    return new Uploads(this.options);
  }

  get options(): UploadsOptions {
    const worker = () => {
      if (this.broken) throw new Error('no connection');
      const made = new FakeWorker();
      this.workers.push(made);
      return made as unknown as Worker;
    };
    return { endpoint: 'https://api', getToken: () => 'token', host: 'dedicated', worker };
  }

  get worker(): FakeWorker {
    return this.workers.at(-1)!;
  }

  /** Whether the browser would ask before the tab closes. */
  get asks(): boolean {
    return !this.window.dispatchEvent(new Event('beforeunload', { cancelable: true }));
  }
}
