/**
 * Finds where the work runs: a shared worker, else a dedicated one, else the page itself. A host counts
 * once it has answered the first message; until then every failure leads to the next host.
 */

import { loopback, type Message, type Port, type Serve } from './port.ts';

export type HostKind = 'shared' | 'dedicated' | 'main';
export type HostChoice = 'auto' | HostKind;

/** How each kind of host is started. `new URL(…, import.meta.url)` stands in the caller, for the bundlers. */
export interface Hosts {
  shared?: () => SharedWorker;
  dedicated?: () => Worker;
  main?: () => Promise<Serve>;
}

export interface Connected {
  kind: HostKind;
  port: Port;
  /** Whether the host finishes its work after the last tab has closed. */
  survives: boolean;
}

/** A host that does not answer within this time is given up (ms). Refused scripts fail within 60 ms. */
const ANSWER_MS = 5_000;

const ORDER: readonly HostKind[] = ['shared', 'dedicated', 'main'];

/**
 * Posts `hello` to one host after the other until one answers with `ready`. `receive` gets every message of
 * the host that was taken, that first one included; `lost` is called if a dedicated worker fails later.
 */
export async function connect(
  choice: HostChoice,
  hosts: Hosts,
  hello: Message,
  ready: string,
  receive: (message: Message) => void,
  lost?: (reason: string) => void,
): Promise<Connected> {
  const tried: string[] = [];
  for (const kind of choice === 'auto' ? ORDER : [choice, 'main' as const]) {
    try {
      const port = await open(kind, hosts, hello, ready, receive, lost);
      if (port) return { kind, port, survives: kind === 'shared' && extendsLifetime() };
    } catch (error) {
      tried.push(`${kind}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  throw new Error(`no host answers (${tried.join('; ')})`);
}

async function open(
  kind: HostKind,
  hosts: Hosts,
  hello: Message,
  ready: string,
  receive: (message: Message) => void,
  lost?: (reason: string) => void,
): Promise<Port | null> {
  let port: Port;
  let events: EventTarget | null = null;
  if (kind === 'shared') {
    if (!hosts.shared || typeof SharedWorker === 'undefined') return null;
    const worker = hosts.shared();
    events = worker;
    port = worker.port as Port;
  } else if (kind === 'dedicated') {
    if (!hosts.dedicated || typeof Worker === 'undefined') return null;
    const worker = hosts.dedicated();
    events = worker;
    port = worker as unknown as Port;
  } else {
    if (!hosts.main) return null;
    const [near, far] = loopback();
    (await hosts.main())(far);
    port = near;
  }
  return new Promise((resolve, reject) => {
    let answered = false;
    const fail = (reason: string) => {
      if (answered) return lost?.(reason);
      answered = true;
      clearTimeout(timer);
      port.onmessage = null;
      (port.terminate ?? port.close)?.call(port);
      reject(new Error(reason));
    };
    const timer = setTimeout(() => fail('no answer'), ANSWER_MS);
    events?.addEventListener('error', (event) => {
      event.preventDefault?.();
      fail('the worker script could not be loaded or failed');
    });
    port.onmessage = ({ data }) => {
      if (!answered && data.command === ready) {
        answered = true;
        clearTimeout(timer);
        resolve(port);
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
