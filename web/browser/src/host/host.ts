/**
 * Finds where the work runs: a shared worker, else a dedicated one, else the page itself. A host counts
 * once it has answered the first message; until then every failure leads to the next host.
 */

import type { Message, Port, Serve } from './port.ts';

export type HostKind = 'shared' | 'dedicated' | 'main';
export type HostChoice = 'auto' | HostKind;

/** The worker file's address, or a function that starts the worker. */
export type WorkerOption = string | URL | (() => Worker | SharedWorker);

/** How each kind of host is started. A worker that is of the other kind than its name is taken as what it is. */
export interface Hosts {
  shared?: () => Worker | SharedWorker;
  dedicated?: () => Worker | SharedWorker;
  main: () => Promise<Serve>;
}

export interface Connected {
  kind: HostKind;
  port: Port;
  /** Whether the host finishes its work after the last tab has closed. */
  survives: boolean;
}

/**
 * A host that does not answer within this time is given up (ms). Refused scripts fail within 60 ms, and a database
 * that does not open, which the log worker waits for, within 5 s.
 */
const ANSWER_MS = 10_000;

/** `own` with the caller's worker, if there is one. `new URL(…, import.meta.url)` stands in `own`, for the bundlers. */
export function withWorker(own: Hosts, name: string, worker?: WorkerOption): Hosts {
  if (!worker) return own;
  const { main } = own;
  if (typeof worker === 'function') return { shared: worker, dedicated: worker, main };
  const options = { type: 'module', name, extendedLifetime: true } as const;
  return {
    shared: () => new SharedWorker(worker, options),
    dedicated: () => new Worker(worker, options),
    main,
  };
}

/**
 * Posts `hello` to one host after the other until one answers with `ready`. `receive` gets every message of
 * the host that was taken, that first one included; `lost` is called if a worker fails later.
 */
export async function connect(
  choice: HostChoice,
  hosts: Hosts,
  hello: Message,
  ready: string,
  receive: (message: Message) => void,
  lost: (reason: string) => void = () => {},
): Promise<Connected> {
  const tried: string[] = [];
  for (const kind of choice === 'auto'
    ? (['shared', 'dedicated', 'main'] as const)
    : ([choice, 'main'] as const)) {
    try {
      const host = kind === 'main' ? await inPage(hosts.main) : hosts[kind]?.();
      if (host) return await open(host, hello, ready, receive, lost);
    } catch (error) {
      tried.push(`${kind}: ${(error as Error).message}`);
    }
  }
  throw new Error(`no host answers (${tried.join('; ')})`);
}

/** The page's end of a channel that `main` serves in the page itself. */
async function inPage(main: Hosts['main']): Promise<MessagePort> {
  const serve = await main();
  const { port1, port2 } = new MessageChannel();
  serve(port2 as unknown as Port);
  return port1;
}

function open(
  host: Worker | SharedWorker | MessagePort,
  hello: Message,
  ready: string,
  receive: (message: Message) => void,
  lost: (reason: string) => void,
): Promise<Connected> {
  const shared = 'port' in host;
  const port = (shared ? host.port : host) as unknown as Port;
  return new Promise((resolve, reject) => {
    let failed = (reason: string) => {
      clearTimeout(timer);
      port.onmessage = null;
      (port.terminate ?? port.close)?.call(port);
      reject(new Error(reason));
    };
    const timer = setTimeout(() => failed('no answer'), ANSWER_MS);
    host.addEventListener('error', (event) => {
      event.preventDefault();
      failed('the worker script failed');
    });
    port.onmessage = ({ data }) => {
      if (data.command === ready) {
        clearTimeout(timer);
        failed = lost;
        const kind = shared ? 'shared' : port.terminate ? 'dedicated' : 'main';
        resolve({ kind, port, survives: shared && extendsLifetime() });
      }
      receive(data);
    };
    port.postMessage(hello);
  });
}

/**
 * Whether shared workers outlive the last tab here (`extendedLifetime`). The constructor reads its options
 * before the address, so an address that is none shows it without starting a worker.
 */
export function extendsLifetime(): boolean {
  let read = false;
  const options = {
    get extendedLifetime() {
      read = true;
      return true;
    },
  };
  try {
    new SharedWorker('http://:', options as WorkerOptions);
  } catch {
    // Expected: the address is invalid.
  }
  return read;
}
