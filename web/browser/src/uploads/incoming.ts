/** What is checked of a file before any request, and the record of a new upload. */

import { baseOf } from './api.ts';
import { fileChanged, invalid, UploadFailure } from './errors.ts';
import { difference, fingerprint } from './fingerprint.ts';
import type { FileSource, StartOptions, UploadSettings, UploadWorkerMessage } from './protocol.ts';
import type { UploadRecord } from './sessions.ts';

const CONTENT_TYPE = 'application/octet-stream';

export function isHandle(source: unknown): source is FileSystemFileHandle {
  return typeof (source as FileSystemFileHandle | undefined)?.getFile === 'function';
}

/** The file of a handle; one that is gone or forbidden is a refusal. */
export async function openFile(source: FileSource): Promise<File> {
  if (!isHandle(source)) return source;
  try {
    return await source.getFile();
  } catch {
    throw invalid(`"${source.name}" cannot be read: it is gone or not permitted`);
  }
}

function check({ name, size }: File, type: string, { accept, maxBytes }: UploadSettings): void {
  if (size === 0) throw invalid(`"${name}" is empty`);
  if (size > maxBytes) {
    throw invalid(`"${name}" has ${size} bytes; at most ${maxBytes} are allowed`, { maxBytes });
  }
  if (!accepts(accept, name.toLowerCase(), type.toLowerCase())) {
    throw invalid(`"${name}" is no file of type ${accept}`, { accept });
  }
}

/** As the `accept` attribute of a file input: `video/*,.mp4,image/png`. */
function accepts(accept: string, name: string, type: string): boolean {
  const patterns = accept.toLowerCase().match(/[^\s,]+/g);
  return (
    !patterns ||
    patterns.some((pattern) => {
      if (pattern.startsWith('.')) return name.endsWith(pattern);
      if (pattern === '*/*') return true;
      return pattern.endsWith('/*') ? type.startsWith(pattern.slice(0, -1)) : type === pattern;
    })
  );
}

/** The options of a message, whose `projectId`, `s3Key` and `chunkSize` are those of the first upload worker. */
export function optionsOf({ options, projectId, s3Key, chunkSize }: UploadWorkerMessage): StartOptions {
  const all = { ...options };
  if (chunkSize) all.chunkSize ??= chunkSize;
  if (projectId) all.projectId ??= projectId;
  if (!s3Key) return all;
  // The service builds the key itself: the caller's gives the name and is kept beside it.
  all.name ??= s3Key.split('/').at(-1) ?? '';
  return { ...all, metadata: { s3Key, ...all.metadata } };
}

export async function newRecord(
  id: string,
  file: File,
  options: StartOptions,
  settings: UploadSettings,
  now: number,
): Promise<UploadRecord> {
  const type = options.type || file.type || CONTENT_TYPE;
  check(file, type, settings);
  const projectId = options.projectId ?? '';
  return {
    id,
    scope: scopeOf(settings),
    projectId,
    fileName: options.name || file.name,
    fileType: type,
    fileSize: file.size,
    fingerprint: await fingerprintOf(file),
    metadata: { ...options.metadata, ...(projectId && { projectId }) },
    priority: options.priority ?? 0,
    order: now,
    sessionId: '',
    key: '',
    partSize: options.chunkSize ?? 0,
    status: 'queued',
    progress: 0,
    startedAt: now,
    lastActivity: now,
  };
}

/** The uploads of one user at one endpoint. */
export function scopeOf(settings: Pick<UploadSettings, 'endpoint' | 'scope'>): string {
  return `${baseOf(settings.endpoint)}|${settings.scope}`;
}

async function fingerprintOf(file: File): Promise<string> {
  try {
    return await fingerprint(file);
  } catch {
    throw fileChanged();
  }
}

/** The file of an upload, opened again. Rejects if it is another. */
export async function sameFile(record: UploadRecord, source: FileSource): Promise<File> {
  const file = await openFile(source);
  const picked = { fileSize: file.size, fingerprint: await fingerprintOf(file) };
  const differs = difference(record, picked);
  if (differs) throw new UploadFailure('FILE_MISMATCH', `this is not the file of the upload: ${differs}`);
  return file;
}
