/** Both ends of the conversation between page and host, whatever the host is. */

// biome-ignore lint/suspicious/noExplicitAny: messages are checked by their `command` where they arrive.
export type Message = { command: string; [field: string]: any };

/** One end: a worker, a shared worker's port, or one half of [`loopback`]. */
export interface Port {
  postMessage(message: Message, transfer?: Transferable[]): void;
  onmessage: ((event: { data: Message }) => void) | null;
  close?(): void;
  terminate?(): void;
}

/** What serves ports: the code of a worker, called in the page where there is no worker. */
export type Serve = (port: Port) => void;

/** Two ports joined inside one thread. Messages are delivered in order, in a later task. */
export function loopback(): [Port, Port] {
  let open = true;
  const end = (): Port & { peer: Port | null } => ({
    peer: null,
    onmessage: null,
    postMessage(message) {
      const peer = this.peer;
      const data = typeof structuredClone === 'function' ? structuredClone(message) : message;
      setTimeout(() => open && peer?.onmessage?.({ data }), 0);
    },
    close() {
      open = false;
    },
  });
  const [a, b] = [end(), end()];
  a.peer = b;
  b.peer = a;
  return [a, b];
}
