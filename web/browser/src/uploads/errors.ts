/** Why an upload stops. No message contains a URL, a token or a key: they reach logs and screens. */

import type { Reply } from './ports.ts';

export type UploadErrorCode =
  | 'NETWORK_ERROR'
  | 'CHUNK_UPLOAD_FAILED'
  | 'UPLOAD_INIT_FAILED'
  | 'UPLOAD_COMPLETE_FAILED'
  | 'VALIDATION_ERROR'
  | 'AUTH_FAILED'
  | 'FILE_MISMATCH'
  | 'FILE_CHANGED'
  | 'SESSION_GONE'
  | 'QUOTA_REACHED'
  | 'DESTROYED';

/** A failure that another try may not meet. */
export interface Passing {
  /** No answer came: the network, not the service. */
  network?: boolean;
  /** What the service asks for (ms). */
  retryAfterMs?: number | undefined;
}

/** The end of an upload's run, as the page sees it; of one try only, while it is `passing` and tries are left. */
export class UploadFailure extends Error {
  override name = 'UploadFailure';
  declare readonly code: UploadErrorCode;
  declare readonly details: Record<string, unknown> | undefined;
  declare readonly passing: Passing | undefined;

  constructor(code: UploadErrorCode, message: string, details?: Record<string, unknown>, passing?: Passing) {
    super(message);
    this.code = code;
    this.details = details;
    this.passing = passing;
  }

  /** The others fail again with the same file and settings. */
  get retryable(): boolean {
    return !/^(VALIDATION|FILE)_/.test(this.code);
  }
}

/** Bytes are missing in S3, and the file is not at hand. */
export class FileNeeded extends Error {}

export const invalid = (message: string, details?: Record<string, unknown>): UploadFailure =>
  new UploadFailure('VALIDATION_ERROR', message, details);

export const fileChanged = (): UploadFailure =>
  new UploadFailure('FILE_CHANGED', 'the file was changed or removed');

/** Whatever was thrown, as a failure. */
export const failureOf = (error: unknown): UploadFailure =>
  error instanceof UploadFailure
    ? error
    : new UploadFailure('UPLOAD_INIT_FAILED', `unexpected: ${String(error)}`);

/** The S3 session does not exist: completed, aborted or expired. */
export const isGone = (error: unknown): boolean => (error as UploadFailure).code === 'SESSION_GONE';

/** Statuses that another try may not meet. */
export const isPassing = (status: number): boolean => status === 408 || status === 429 || status >= 500;

/** A refusal of a route of the API, or of S3, as what it means for the upload. */
export function refusal({ status, body, retryAfterMs }: Reply, code: UploadErrorCode): UploadFailure {
  const said = body as
    | { error?: string | { message?: string }; message?: string; details?: object }
    | undefined;
  // Companion's `{"error": "s3: …"}` or the API's envelope.
  const error = typeof said?.error === 'object' ? said.error.message : (said?.error ?? said?.message);
  const text = error ? error.replace(/^s3: /, '') : `HTTP status ${status}`;
  const details = { ...said?.details, status };
  if (status === 401 || status === 403) {
    return new UploadFailure('AUTH_FAILED', `the service refused the credential: ${text}`, details);
  }
  // Only a named session can be gone; a create that is 404 has the wrong endpoint.
  if (status === 404 && code !== 'UPLOAD_INIT_FAILED')
    return new UploadFailure('SESSION_GONE', text, details);
  if (status === 413 || status === 415) return invalid(text, details);
  if (status === 429 && /uploads of this .* open/.test(text)) {
    return new UploadFailure('QUOTA_REACHED', text, details);
  }
  return new UploadFailure(code, text, details, isPassing(status) ? { retryAfterMs } : undefined);
}
