/** `S3LogWorker`: the worker's logic as a class, as the original has it, for hosts of your own. */

import type { Message, Port } from '../host/port.ts';
import type { Connection } from './connection.ts';
import { browserService } from './host.ts';
import type { WorkerConfig } from './types.ts';

export class S3LogWorker {
  #connection: Connection | null = null;
  /** The calls of `uploadLogs` that wait. */
  readonly #open = new Map<unknown, (answer: Message) => void>();
  readonly #makeService: typeof browserService;

  constructor(makeService: typeof browserService = browserService) {
    this.#makeService = makeService;
  }

  /** Starts with a configuration; answers go to `postMessage`, and `close` is called after TERMINATE. */
  async init(
    data: { config: WorkerConfig },
    postMessage: (message: Message) => void,
    close: () => void = () => {},
  ): Promise<void> {
    const port: Port = {
      onmessage: null,
      postMessage: (message) => {
        const settle = this.#open.get(message.request);
        if (settle) settle(message);
        else postMessage(message);
      },
    };
    const service = this.#makeService();
    this.#connection = service.serve(port, () => {
      service.close();
      close();
    });
    await this.#connection.receive({ command: 'LOG_WORKER_INITIALIZE', config: data.config });
  }

  /** Stores an entry. */
  putLog(data: { level: string; message: string; timestamp?: number }): void {
    this.#started().putLog({ command: 'PUT_LOG', ...data });
  }

  /** Resolves with `Successfully uploaded N logs` or `No logs to upload`. */
  uploadLogs(joinToken?: string): Promise<string> {
    const connection = this.#started();
    return new Promise((resolve, reject) => {
      const request = {};
      this.#open.set(request, ({ command, message, error }) => {
        this.#open.delete(request);
        if (command === 'LOG_UPLOAD_COMPLETE') resolve(message);
        else reject(new Error(error));
      });
      connection.receive({ command: 'UPLOAD_LOGS', request, joinToken }).catch(reject);
    });
  }

  terminate(): Promise<void> {
    return this.#started().receive({ command: 'TERMINATE' });
  }

  #started(): Connection {
    if (!this.#connection) throw new Error('call init first');
    return this.#connection;
  }
}
