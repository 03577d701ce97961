/**
 * What is known of each upload after a reload, a crash or a restart: one record per upload, and its
 * bytes or its handle where they are kept. Sessions that are cancelled offline stay until freed.
 */

import type { UploadError, UploadedPart, UploadSession, UploadStatus } from './protocol.ts';

/** The service frees a session after 7 days: what is older here is forgotten (ms). */
export const SESSION_AGE_MS = 7 * 24 * 60 * 60_000;

export interface UploadRecord {
  id: string;
  /** Endpoint and user; a worker sees the records of its own scope. */
  scope: string;
  projectId: string;
  fileName: string;
  fileType: string;
  fileSize: number;
  lastModified: number;
  fingerprint: string;
  metadata: Record<string, string>;
  priority: number;
  /** Its place among the uploads that wait; ascending. */
  order: number;
  /** S3's upload id and key; empty before the session exists. */
  sessionId: string;
  key: string;
  /** Bytes; 0 before the session exists. */
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
  /** `false`: there is no room for it. */
  keepFile(id: string, file: Blob | FileSystemFileHandle): Promise<boolean>;
  file(id: string): Promise<Blob | FileSystemFileHandle | undefined>;
  dropFile(id: string): Promise<void>;
  /** Everything that was written survives a restart. */
  readonly durable: boolean;
}

/** Held by the worker that has the upload. */
export function lockName(id: string): string {
  return `logferry-upload:${id}`;
}

export function isOver(record: UploadRecord, now: number): boolean {
  return now - record.startedAt > SESSION_AGE_MS;
}

/** The record as the page sees it. */
export function shown(record: UploadRecord, parts: UploadedPart[]): UploadSession {
  let next = 1;
  for (const part of parts) if (part.partNumber === next) next += 1;
  const session: UploadSession = {
    projectId: record.projectId,
    uploadId: record.id,
    s3Key: record.key,
    parts,
    nextPartNumber: next,
    status: record.status,
    progress: record.progress,
    startedAt: new Date(record.startedAt),
    lastActivity: new Date(record.lastActivity),
    fileSize: record.fileSize,
    fileName: record.fileName,
    chunkSize: record.partSize,
  };
  if (record.error) session.error = record.error;
  return session;
}

/** The same without a database: nothing survives the worker. */
export class MemoryStore implements UploadStore {
  #records = new Map<string, UploadRecord>();
  #files = new Map<string, Blob | FileSystemFileHandle>();
  readonly durable = false;

  async all(scope: string): Promise<UploadRecord[]> {
    const own = [...this.#records.values()].filter((record) => record.scope === scope);
    return own.map((record) => ({ ...record })).sort((one, other) => one.order - other.order);
  }

  async get(id: string): Promise<UploadRecord | undefined> {
    const record = this.#records.get(id);
    return record && { ...record };
  }

  async put(record: UploadRecord): Promise<void> {
    this.#records.set(record.id, { ...record });
  }

  async remove(id: string): Promise<void> {
    this.#records.delete(id);
    this.#files.delete(id);
  }

  async keepFile(id: string, file: Blob | FileSystemFileHandle): Promise<boolean> {
    this.#files.set(id, file);
    return true;
  }

  async file(id: string): Promise<Blob | FileSystemFileHandle | undefined> {
    return this.#files.get(id);
  }

  async dropFile(id: string): Promise<void> {
    this.#files.delete(id);
  }
}
