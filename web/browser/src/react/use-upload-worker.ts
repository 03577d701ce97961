/**
 * The uploads of all tabs as React state. One client per endpoint and user for the whole page, so
 * that StrictMode's double mount makes one worker; unmounting stops nothing.
 */

import { useMemo, useSyncExternalStore } from 'react';
import { newId } from '../host/clock.ts';
import type { HostKind } from '../host/host.ts';
import { createUploads, type Uploads } from '../uploads/client.ts';
import type { FileSource, UploadProgress, UploadSession } from '../uploads/protocol.ts';
import type { UploadsOptions } from '../uploads/settings.ts';

interface Snapshot {
  activeUploads: Map<string, UploadSession>;
  uploadProgress: Map<string, UploadProgress>;
  uploadErrors: Map<string, string>;
  queue: string[];
  host: HostKind | undefined;
}

export interface UploadWorker extends Snapshot {
  isReady: boolean;
  /** The upload's id, or `null` if the file is refused: `uploadErrors` says why. */
  startUpload(file: FileSource, projectId?: string, s3Key?: string): Promise<string | null>;
  pauseUpload(uploadId: string): Promise<void>;
  resumeUpload(uploadId: string): Promise<void>;
  resumeWithFile(uploadId: string, file: FileSource): Promise<void>;
  cancelUpload(uploadId: string): Promise<void>;
  retryUpload(uploadId: string): Promise<void>;
  removeUpload(uploadId: string): Promise<void>;
  setBandwidthLimit(bytesPerSec: number | null): Promise<void>;
  getUploadSession(uploadId: string): UploadSession | undefined;
  isUploading(uploadId: string): boolean;
  /** Percent. */
  getUploadProgress(uploadId: string): number;
}

const EMPTY: Snapshot = {
  activeUploads: new Map(),
  uploadProgress: new Map(),
  uploadErrors: new Map(),
  queue: [],
  host: undefined,
};

/** One client and its state, made at the first subscription, which is never on a server. */
export class Shared {
  options: UploadsOptions;
  #uploads: Uploads | undefined;
  #snapshot = EMPTY;
  /** Refusals of files that never became an upload, and of commands. */
  #refused = new Map<string, string>();
  #listeners = new Set<() => void>();

  constructor(options: UploadsOptions) {
    this.options = options;
  }

  get uploads(): Uploads {
    if (!this.#uploads) {
      // The token of the component that rendered last.
      this.#uploads = createUploads({ ...this.options, getToken: (why) => this.options.getToken(why) });
      this.#uploads.on('change', () => this.#changed());
    }
    return this.#uploads;
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    void this.uploads;
    return () => this.#listeners.delete(listener);
  };

  readonly snapshot = (): Snapshot => this.#snapshot;

  /** Runs a command; its failure becomes the upload's error. */
  async run(uploadId: string, command: () => Promise<unknown>): Promise<boolean> {
    try {
      this.#refused.delete(uploadId);
      await command();
      return true;
    } catch (error) {
      this.#refused.set(uploadId, error instanceof Error ? error.message : String(error));
      return false;
    } finally {
      this.#changed();
    }
  }

  #changed(): void {
    const sessions = this.uploads.list();
    const errors = new Map(this.#refused);
    const progress = new Map<string, UploadProgress>();
    for (const { uploadId, error } of sessions) {
      if (error) errors.set(uploadId, error.message);
      const known = this.uploads.progressOf(uploadId);
      if (known) progress.set(uploadId, known);
    }
    this.#snapshot = {
      activeUploads: new Map(sessions.map((session) => [session.uploadId, session])),
      uploadProgress: progress,
      uploadErrors: errors,
      queue: sessions
        .filter(({ status }) => status === 'queued')
        .sort((one, other) => other.priority - one.priority || one.order - other.order)
        .map(({ uploadId }) => uploadId),
      host: this.uploads.host,
    };
    for (const listener of this.#listeners) listener();
  }
}

const clients = new Map<string, Shared>();
let defaults: UploadsOptions | undefined;

/** What `useUploadWorker()` without arguments uses. */
export function configureUploads(options: UploadsOptions): void {
  defaults = options;
}

function sharedFor(config: Partial<UploadsOptions> | undefined): Shared {
  const options = { ...defaults, ...config } as UploadsOptions;
  if (!options.endpoint || !options.getToken) {
    throw new Error('useUploadWorker needs an endpoint and getToken, here or by configureUploads()');
  }
  // A server keeps nothing between requests.
  if (typeof window === 'undefined') return new Shared(options);
  const name = JSON.stringify([options.endpoint, options.scope]);
  const known = clients.get(name);
  if (known) {
    known.options = options;
    return known;
  }
  const shared = new Shared(options);
  clients.set(name, shared);
  return shared;
}

export function useUploadWorker(config?: Partial<UploadsOptions>): UploadWorker {
  const shared = sharedFor(config);
  const state = useSyncExternalStore(shared.subscribe, shared.snapshot, () => EMPTY);
  const commands = useMemo(() => commandsOf(shared), [shared]);
  return { ...state, ...commands, isReady: state.host !== undefined };
}

/** For tests. */
export function commandsOf(shared: Shared) {
  const on = async (uploadId: string, command: (uploads: Uploads) => Promise<unknown>): Promise<void> => {
    await shared.run(uploadId, () => command(shared.uploads));
  };
  return {
    async startUpload(file: FileSource, projectId?: string, s3Key?: string): Promise<string | null> {
      const uploadId = newId();
      const options = { uploadId, ...(projectId && { projectId }), ...(s3Key && { s3Key }) };
      return (await shared.run(uploadId, () => shared.uploads.start(file, options))) ? uploadId : null;
    },
    pauseUpload: (id: string) => on(id, (uploads) => uploads.pause(id)),
    resumeUpload: (id: string) => on(id, (uploads) => uploads.resume(id)),
    resumeWithFile: (id: string, file: FileSource) => on(id, (uploads) => uploads.resume(id, file)),
    cancelUpload: (id: string) => on(id, (uploads) => uploads.cancel(id)),
    retryUpload: (id: string) => on(id, (uploads) => uploads.retry(id)),
    // A file that was refused has no upload: its refusal goes.
    removeUpload: (id: string) =>
      on(id, async (uploads) => shared.snapshot().activeUploads.has(id) && uploads.remove(id)),
    setBandwidthLimit: (bytesPerSec: number | null) =>
      on('', (uploads) => uploads.setBandwidthLimit(bytesPerSec)),
    getUploadSession: (id: string) => shared.snapshot().activeUploads.get(id),
    isUploading: (id: string) => shared.snapshot().activeUploads.get(id)?.status === 'uploading',
    getUploadProgress: (id: string) => shared.snapshot().activeUploads.get(id)?.progress ?? 0,
  };
}
