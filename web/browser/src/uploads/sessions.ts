/**
 * What is known of each upload after a reload, a crash or a restart: one record per upload, and its
 * bytes or its handle where they are kept. Sessions that are cancelled offline stay until freed.
 */

import type { UploadError, UploadedPart, UploadSession, UploadStatus } from './protocol.ts';

/** The service frees a session after 7 days: what is older here is forgotten (ms). */
const SESSION_AGE_MS = 7 * 24 * 60 * 60_000;

export interface UploadRecord {
  id: string;
  /** Endpoint and user; a worker sees the records of its own scope. */
  scope: string;
  projectId: string;
  fileName: string;
  fileType: string;
  fileSize: number;
  fingerprint: string;
  metadata: Record<string, string>;
  priority: number;
  /** Its place among the uploads of its priority that wait; ascending. */
  order: number;
  /** S3's upload id and key; empty before the session exists. */
  sessionId: string;
  key: string;
  /** Bytes; before the session exists those that its caller wants, or 0. */
  partSize: number;
  status: UploadStatus;
  progress: number;
  startedAt: number;
  lastActivity: number;
  error?: UploadError;
}

/** Storage of records and files. */
export interface UploadStore {
  /** Records of the scope, oldest first. */
  all(scope: string): Promise<UploadRecord[]>;
  get(id: string): Promise<UploadRecord | undefined>;
  put(record: UploadRecord): Promise<void>;
  /** Removes the record and what is kept of its file. */
  remove(id: string): Promise<void>;
  /** Nothing is kept where there is no room. */
  keepFile(id: string, file: Blob | FileSystemFileHandle): Promise<void>;
  file(id: string): Promise<Blob | FileSystemFileHandle | undefined>;
  dropFile(id: string): Promise<void>;
  /** Everything that was written survives a restart. */
  readonly durable: boolean;
}

/** Held by the worker that has the upload. */
export function lockName(id: string): string {
  return `logferry-upload:${id}`;
}

/** Nothing follows its status. */
export function isEnded({ status }: { status: UploadStatus }): boolean {
  return status === 'completed' || status === 'cancelled';
}

export function isOver(record: UploadRecord, now: number): boolean {
  return now - record.startedAt > SESSION_AGE_MS;
}

/** The record as the page sees it. */
export function shown(record: UploadRecord, parts: UploadedPart[]): UploadSession {
  const {
    id,
    key,
    partSize,
    startedAt,
    lastActivity,
    projectId,
    status,
    progress,
    fileSize,
    fileName,
    priority,
    order,
    error,
  } = record;
  let next = 1;
  for (const { partNumber } of parts) if (partNumber === next) next += 1;
  return {
    projectId,
    uploadId: id,
    s3Key: key,
    parts,
    nextPartNumber: next,
    status,
    progress,
    startedAt: new Date(startedAt),
    lastActivity: new Date(lastActivity),
    fileSize,
    fileName,
    chunkSize: partSize,
    priority,
    order,
    ...(error && { error }),
  };
}
