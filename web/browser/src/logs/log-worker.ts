/** The worker's file: a shared worker serves every tab, a dedicated one its page. */

import type { Port } from '../host/port.ts';
import { browserService } from './host.ts';

const scope = globalThis as unknown as {
  onconnect?: (event: { ports: readonly MessagePort[] }) => void;
  close(): void;
} & Port;

const service = browserService();

if ('onconnect' in scope) {
  scope.onconnect = ({ ports }) => {
    const [port] = ports;
    if (port) service.serve(port as unknown as Port, () => port.close());
  };
} else {
  service.serve(scope, () => scope.close());
}
