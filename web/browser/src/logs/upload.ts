/** `UPLOAD_LOGS`: a flush, and with `until: 'ingested'` what became of its files. */

import { type Clock, sleep } from '../host/clock.ts';
import type { Message } from '../host/port.ts';
import type { Sender } from './sender.ts';
import type { LogService } from './service.ts';
import type { LogFile } from './types.ts';

/** A flush that is not done by then is answered with what keeps it (ms). */
const FLUSH_MS = 30_000;
/** The same with `until: 'ingested'`. */
const INGEST_MS = 120_000;
/** Between two questions whether a file is ingested (ms). */
const INGEST_POLL_MS = 1_000;

/** Uploads what is stored of a scope; the message that answers it. */
export async function answerUpload(
  service: LogService,
  scope: string | null,
  { joinToken, request, until, timeoutMs }: Message,
): Promise<Message> {
  const failed = (code: string, error: string, retryInMs = 0): Message => ({
    command: 'LOG_UPLOAD_FAILED',
    error,
    code,
    retryInMs: Math.round(retryInMs),
    request,
  });
  if (!scope)
    return failed('NO_SCOPE', 'presignedUrlEndpoint, meetingId and attendeeId are needed to upload');
  const { clock } = service;
  const { sender } = service.lane(scope);
  if (joinToken) await sender.setToken(joinToken);
  const timeout = timeoutMs ?? (until === 'ingested' ? INGEST_MS : FLUSH_MS);
  const deadline = clock.now() + timeout;
  const outcome = await sender.flush(timeout);
  if (outcome.failure) return failed(outcome.failure.code, outcome.failure.message, outcome.retryInMs);
  const { uploaded, files, dropped } = outcome.summary;
  const missing = until === 'ingested' ? await ingested(sender, clock, files, deadline) : undefined;
  if (missing) return failed('DEADLINE', missing);
  const message = uploaded ? `Successfully uploaded ${uploaded} logs` : 'No logs to upload';
  return { command: 'LOG_UPLOAD_COMPLETE', message, uploaded, files, dropped, request };
}

/** Asks until every file has an end, whichever it is; returns what prevented it. */
async function ingested(
  sender: Sender,
  clock: Clock,
  files: LogFile[],
  deadline: number,
): Promise<string | undefined> {
  for (const file of files) {
    for (;;) {
      // A question without an answer is asked again.
      const status = await sender.delivery.status(file.key).catch(() => undefined);
      if (status === null) return 'uploaded; the service does not tell what became of a file';
      if (status?.status) file.status = status.status;
      if (status?.counts) file.counts = status.counts;
      if (file.status === 'COMPLETED' || file.status === 'FAILED') break;
      if (clock.now() >= deadline) return 'uploaded, but not ingested in time';
      await sleep(clock, INGEST_POLL_MS);
    }
  }
  return undefined;
}
