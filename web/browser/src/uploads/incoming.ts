/** What is checked of a file before any request, and the record of a new upload. */

import { UploadFailure } from './errors.ts';
import { difference, fingerprint } from './fingerprint.ts';
import type { FileSource, StartOptions, UploadSettings, UploadWorkerMessage } from './protocol.ts';
import type { UploadRecord, UploadStore } from './sessions.ts';

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
    throw new UploadFailure(
      'VALIDATION_ERROR',
      `"${source.name}" cannot be read: it is gone or not permitted`,
    );
  }
}

function check(file: File, type: string, settings: UploadSettings): void {
  if (file.size === 0) throw new UploadFailure('VALIDATION_ERROR', `"${file.name}" is empty`);
  if (file.size > settings.maxBytes) {
    throw new UploadFailure(
      'VALIDATION_ERROR',
      `"${file.name}" has ${file.size} bytes; at most ${settings.maxBytes} are allowed`,
      { maxBytes: settings.maxBytes },
    );
  }
  if (!accepts(settings.accept, file.name, type)) {
    throw new UploadFailure('VALIDATION_ERROR', `"${file.name}" is no file of type ${settings.accept}`, {
      accept: settings.accept,
    });
  }
}

/** As the `accept` attribute of a file input: `video/*,.mp4,image/png`. */
function accepts(accept: string, name: string, type: string): boolean {
  const patterns = accept.split(',').map((pattern) => pattern.trim().toLowerCase());
  const wanted = patterns.filter((pattern) => pattern !== '');
  if (wanted.length === 0) return true;
  const [lowName, lowType] = [name.toLowerCase(), type.toLowerCase()];
  return wanted.some((pattern) => {
    if (pattern.startsWith('.')) return lowName.endsWith(pattern);
    return pattern.endsWith('/*') ? lowType.startsWith(pattern.slice(0, -1)) : lowType === pattern;
  });
}

/** The options of a message, whose `projectId` and `s3Key` are those of the first upload worker. */
export function optionsOf({ options, projectId, s3Key }: UploadWorkerMessage): StartOptions {
  const all = { ...options };
  if (projectId) all.projectId ??= projectId;
  if (!s3Key) return all;
  // The service builds the key itself: the caller's gives the name and is kept beside it.
  const name = all.name ?? s3Key.split('/').at(-1) ?? '';
  return { ...all, name, metadata: { s3Key, ...all.metadata } };
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
    lastModified: file.lastModified,
    fingerprint: await fingerprintOf(file),
    metadata: { ...options.metadata, ...(projectId && { projectId }) },
    priority: options.priority ?? 0,
    order: now,
    sessionId: '',
    key: '',
    partSize: 0,
    status: 'queued',
    progress: 0,
    startedAt: now,
    lastActivity: now,
  };
}

/** The uploads of one user at one endpoint. */
export function scopeOf(settings: Pick<UploadSettings, 'endpoint' | 'scope'>): string {
  return `${settings.endpoint.replace(/\/+$/, '')}|${settings.scope}`;
}

async function fingerprintOf(file: File): Promise<string> {
  try {
    return await fingerprint(file);
  } catch {
    throw new UploadFailure('FILE_CHANGED', `"${file.name}" cannot be read: it was changed or removed`);
  }
}

/** The files of interrupted uploads. */
export class Sources {
  readonly #store: UploadStore;
  readonly #settings: UploadSettings;

  constructor(store: UploadStore, settings: UploadSettings) {
    this.#store = store;
    this.#settings = settings;
  }

  /** Handles are kept whatever they weigh; of small files the bytes are. */
  async keep(id: string, file: File, source: FileSource): Promise<void> {
    if (isHandle(source)) await this.#store.keepFile(id, source);
    else if (file.size <= this.#settings.keepCopiesUpTo) await this.#store.keepFile(id, file);
  }

  /** The file as it is kept: a copy, or a handle whose permission is there. */
  async kept(record: UploadRecord): Promise<{ file: Blob | null; handle: FileSystemFileHandle | undefined }> {
    const kept = await this.#store.file(record.id);
    if (!kept || !isHandle(kept)) return { file: kept ?? null, handle: undefined };
    try {
      const file = await kept.getFile();
      await sameFile(record, file);
      return { file, handle: kept };
    } catch {
      // Not permitted any more, gone, or another file by now: the user decides.
      return { file: null, handle: kept };
    }
  }

  /** The file that was picked again. Rejects if it is another. */
  async again(record: UploadRecord, source: FileSource): Promise<File> {
    const file = await openFile(source);
    await sameFile(record, file);
    await this.keep(record.id, file, source);
    return file;
  }
}

async function sameFile(record: UploadRecord, file: File): Promise<void> {
  const { name: fileName, size: fileSize, lastModified } = file;
  const picked = { fileName, fileSize, lastModified, fingerprint: await fingerprintOf(file) };
  const differs = difference(record, picked);
  if (differs) throw new UploadFailure('FILE_MISMATCH', `this is not the file of the upload: ${differs}`);
}
