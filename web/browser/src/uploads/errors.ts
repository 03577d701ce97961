/** Why an upload stops. No message contains a URL, a token or a key: they reach logs and screens. */

import type { Reply } from './ports.ts';
import type { UploadError } from './protocol.ts';

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
  | 'QUOTA_REACHED';

/** Codes that fail again with the same file and settings. */
const FINAL: readonly UploadErrorCode[] = ['VALIDATION_ERROR', 'FILE_MISMATCH', 'FILE_CHANGED'];

/** The end of an upload's run, as the page sees it. */
export class UploadFailure extends Error {
  readonly code: UploadErrorCode;
  readonly details: Record<string, unknown> | undefined;

  constructor(code: UploadErrorCode, message: string, details?: Record<string, unknown>) {
    super(message);
    this.name = 'UploadFailure';
    this.code = code;
    this.details = details;
  }

  get retryable(): boolean {
    return !FINAL.includes(this.code);
  }

  shown(uploadId: string): UploadError {
    const shown: UploadError = {
      code: this.code,
      message: this.message,
      retryable: this.retryable,
      uploadId,
    };
    if (this.details) shown.details = this.details;
    return shown;
  }
}

/** A try that failed for a passing reason; `failure` is the end if no later try succeeds. */
export class Passing extends Error {
  readonly failure: UploadFailure;
  /** No answer came: the network, not the service. */
  readonly network: boolean;
  readonly retryAfterMs: number | undefined;

  constructor(failure: UploadFailure, network: boolean, retryAfterMs?: number) {
    super(failure.message);
    this.name = 'Passing';
    this.failure = failure;
    this.network = network;
    this.retryAfterMs = retryAfterMs;
  }
}

/** The S3 session does not exist: completed, aborted or expired. */
export class SessionGone extends Error {
  constructor() {
    super('the upload session has ended');
    this.name = 'SessionGone';
  }
}

/** Bytes are missing in S3, and the file is not at hand. */
export class FileNeeded extends Error {
  constructor() {
    super('the file is needed');
    this.name = 'FileNeeded';
  }
}

/** The text of a refusal: Companion's `{"error": "s3: …"}` or the API's envelope. */
export function refusalText(reply: Reply): string {
  const body = reply.body as { error?: string | { message?: string }; message?: string } | undefined;
  const error = typeof body?.error === 'object' ? body.error.message : (body?.error ?? body?.message);
  return typeof error === 'string' ? error.replace(/^s3: /, '') : `HTTP status ${reply.status}`;
}

export function isPassing(status: number): boolean {
  return status === 408 || status === 429 || status >= 500;
}

/** A refusal of a route of the API, as what it means for the upload. */
export function refusal(reply: Reply, code: UploadErrorCode): UploadFailure | Passing | SessionGone {
  const { status } = reply;
  const text = refusalText(reply);
  const details = { ...(reply.body as { details?: object } | undefined)?.details, status };
  if (status === 401 || status === 403) {
    return new UploadFailure('AUTH_FAILED', `the service refused the credential: ${text}`, details);
  }
  if (status === 404) return new SessionGone();
  if (status === 429 && /uploads of this .* open/.test(text)) {
    return new UploadFailure('QUOTA_REACHED', text, details);
  }
  if (isPassing(status))
    return new Passing(new UploadFailure(code, text, details), false, reply.retryAfterMs);
  if (status === 413 || status === 415) return new UploadFailure('VALIDATION_ERROR', text, details);
  return new UploadFailure(code, text, details);
}
