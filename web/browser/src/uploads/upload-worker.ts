/** The upload worker's script, shared or dedicated. */

import type { Port } from '../host/port.ts';
import { serveUploads } from './serve.ts';

interface SharedScope {
  onconnect: ((event: { ports: readonly Port[] }) => void) | null;
}

const serve = serveUploads();
const scope: unknown = globalThis;
if ('SharedWorkerGlobalScope' in globalThis) {
  (scope as SharedScope).onconnect = ({ ports: [port] }) => port && serve(port);
} else serve(scope as Port);
