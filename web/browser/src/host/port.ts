/** Both ends of the conversation between page and host, whatever the host is. */

// biome-ignore lint/suspicious/noExplicitAny: messages are checked by their `command` where they arrive.
export type Message = { command: string; [field: string]: any };

/** One end: a worker, or a message port. */
export interface Port {
  postMessage(message: Message, transfer?: Transferable[]): void;
  onmessage: ((event: { data: Message }) => void) | null;
  close?(): void;
  terminate?(): void;
}

/** What serves ports: the code of a worker, called in the page where there is no worker. */
export type Serve = (port: Port) => void;

/** The options that are values. Functions and what has no copy cannot be posted. */
export const valuesOf = <T extends object>(options: T): Partial<T> =>
  Object.fromEntries(
    Object.entries(options).filter(([, value]) => ['string', 'number', 'boolean'].includes(typeof value)),
  ) as Partial<T>;
