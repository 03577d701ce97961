/** The host in the page itself, where neither kind of worker starts. Loaded only then. */

import type { Serve } from '../host/port.ts';
import { browserService } from './host.ts';

let service: ReturnType<typeof browserService> | undefined;

export const serve: Serve = (port) => {
  service ??= browserService();
  service.serve(port);
};
