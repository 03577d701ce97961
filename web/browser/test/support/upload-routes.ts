/** Companion's multipart routes and S3's side of parts. */

import type { Call, FaultServer, Reply } from './fault-server.ts';

export function uploadRoutes(_server: FaultServer, _call: Call): Reply | null {
  return null;
}
