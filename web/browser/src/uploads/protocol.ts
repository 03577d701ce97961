/**
 * The messages between a page and the upload worker, and the types of an upload that both show.
 * `UploadWorkerMessage`, `UploadWorkerResponse`, `UploadSession` and `UploadProgress` keep the
 * fields they had in the first upload worker; what is new is optional or a new `type`.
 */

import type { UploadErrorCode } from './errors.ts';

export type UploadStatus =
  | 'queued'
  | 'uploading'
  | 'waiting'
  | 'paused'
  | 'needs-file'
  | 'completing'
  | 'completed'
  | 'failed'
  | 'cancelled';

/** Whether an upload with this status runs, or will by itself: queued, uploading, waiting, completing. */
export const isActive = (status: UploadStatus): boolean => /^queued$|ing$/.test(status);

export interface UploadedPart {
  partNumber: number;
  etag: string;
  size: number;
}

export interface UploadError {
  code: UploadErrorCode;
  message: string;
  /** `retry(id)` can succeed without another file. */
  retryable: boolean;
  uploadId: string;
  details?: Record<string, unknown> | undefined;
}

export interface UploadSession {
  projectId: string;
  /** The client's own id of the upload, the same in every tab and after a restart. */
  uploadId: string;
  /** The key that the service chose; empty until the session exists. */
  s3Key: string;
  parts: UploadedPart[];
  nextPartNumber: number;
  status: UploadStatus;
  /** Percent, one decimal. */
  progress: number;
  startedAt: Date;
  lastActivity: Date;
  fileSize: number;
  fileName: string;
  chunkSize: number;
  /** Of the uploads that are queued, a higher priority runs first, then the smaller `order`. */
  priority: number;
  order: number;
  error?: UploadError;
  /** Another tab runs it. */
  elsewhere?: boolean;
  /** `needs-file`: a handle that is kept; `resume(id)` on a click asks for its permission. */
  handle?: FileSystemFileHandle;
}

export interface UploadProgress {
  projectId: string;
  /** Percent, one decimal; never falls within one S3 session. */
  progress: number;
  /** Bytes that are stored or under way. */
  uploadedBytes: number;
  totalBytes: number;
  currentChunk: number;
  totalChunks: number;
  /** Seconds. */
  estimatedTimeRemaining?: number | undefined;
  /** Bytes per second. */
  speed?: number | undefined;
}

/** What `start` takes beside the file. */
export interface StartOptions {
  projectId?: string;
  /** The name to store the file under; the file's own name by default. */
  name?: string;
  metadata?: Record<string, string>;
  /** The content type; the file's own by default. */
  type?: string;
  /** Higher first; 0 by default. */
  priority?: number;
  /** Bytes, instead of the client's `chunkSize`. */
  chunkSize?: number;
}

export type FileSource = File | FileSystemFileHandle;

/** From the page. `request` comes back in the `ANSWER`. */
export interface UploadWorkerMessage {
  type:
    | 'START_UPLOAD'
    | 'PAUSE_UPLOAD'
    | 'RESUME_UPLOAD'
    | 'CANCEL_UPLOAD'
    | 'RESUME_INTERRUPTED_UPLOAD'
    | 'RESUME_WITH_FILE'
    | 'RETRY_UPLOAD'
    | 'REMOVE_UPLOAD'
    | 'PAUSE_ALL'
    | 'RESUME_ALL'
    | 'SET_LIMIT'
    | 'REORDER'
    | 'LIST';
  file?: FileSource;
  projectId?: string;
  uploadId?: string;
  s3Key?: string | undefined;
  chunkSize?: number;
  options?: StartOptions;
  /** PAUSE_UPLOAD: let the parts that are under way end. */
  finish?: boolean;
  /** SET_LIMIT: null is no limit. */
  bytesPerSec?: number | null;
  /** REORDER */
  uploadIds?: string[];
  request?: number;
}

/** To the page. */
export interface UploadWorkerResponse {
  type:
    | 'PROGRESS'
    | 'COMPLETE'
    | 'ERROR'
    | 'PAUSED'
    | 'CANCELLED'
    | 'NEEDS_FILE'
    | 'QUEUED'
    | 'WAITING'
    | 'REMOVED'
    | 'SESSIONS'
    | 'ANSWER';
  projectId?: string;
  uploadId?: string | undefined;
  progress?: number;
  uploadedBytes?: number;
  totalBytes?: number;
  currentChunk?: number;
  totalChunks?: number;
  estimatedTimeRemaining?: number | undefined;
  speed?: number | undefined;
  s3Key?: string;
  error?: string;
  code?: UploadErrorCode;
  retryable?: boolean;
  details?: Record<string, unknown> | undefined;
  step?: string;
  /** The upload as it is now, with every message but PROGRESS and ANSWER. */
  session?: UploadSession;
  /** SESSIONS: every upload that this worker knows. */
  sessions?: UploadSession[];
  /** `false` if the browser does not store the sessions, so that a restart forgets the uploads. */
  durable?: boolean;
  request?: number | undefined;
}

/** The settings that reach the worker. */
export interface UploadSettings {
  /** The base URL of the API. */
  endpoint: string;
  /** Separates the uploads of several users of one browser. */
  scope: string;
  parallel: number;
  maxActive: number;
  maxRetries: number;
  /** The first pause between tries (ms). */
  retryDelayMs: number;
  bytesPerSec: number | null;
  /** Bytes; 0 leaves the choice to the service. */
  chunkSize: number;
  keepCopiesUpTo: number;
  accept: string;
  maxBytes: number;
  autoResume: boolean;
}

const MIB = 1024 * 1024;

/**
 * The defaults, with the names of the first upload worker. `chunkSize: 0` takes the service's part
 * size: 8 MiB below 100 MiB, 16 MiB up to 1 GiB, 32 MiB above.
 */
export const DEFAULT_UPLOAD_CONFIG = {
  chunkSize: 0,
  maxConcurrentChunks: 3,
  maxRetries: 5,
  retryDelay: 500,
  maxActive: 1,
  bytesPerSec: null as number | null,
  keepCopiesUpTo: 50 * MIB,
  accept: '',
  maxBytes: 5 * 1024 * 1024 * MIB,
  autoResume: true,
};
