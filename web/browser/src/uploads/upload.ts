/**
 * One upload that this worker holds: its record, its file and its run. The worker has the upload's
 * lock, so no other tab runs it.
 */

import { type RunPorts, Stopped, UploadRun } from './core.ts';
import { FileNeeded, failureOf } from './errors.ts';
import {
  isActive,
  type UploadProgress,
  type UploadSession,
  type UploadSettings,
  type UploadStatus,
  type UploadWorkerResponse,
} from './protocol.ts';
import { isEnded, shown, type UploadRecord, type UploadStore } from './sessions.ts';
import { Throttle } from './speed.ts';

/** The stored progress is this old at most; a restart shows it until S3 is asked (ms). */
const SAVE_MS = 2_000;

export type Tell = (message: UploadWorkerResponse) => void;

export interface UploadPorts extends RunPorts {
  store: UploadStore;
}

/** The messages that do not have the name of their status. */
const MESSAGE: { [S in UploadStatus]?: UploadWorkerResponse['type'] } = {
  uploading: 'PROGRESS',
  completing: 'PROGRESS',
  completed: 'COMPLETE',
  failed: 'ERROR',
};

export class Upload {
  readonly record: UploadRecord;
  /** `null`: the file must be picked again. */
  file: Blob | null;
  /** Asks the user for the file, where the browser kept a handle and wants a permission. */
  handle: FileSystemFileHandle | undefined;
  /** Pauses that let parts end may be under way. */
  pausing: Promise<unknown> = Promise.resolve();
  readonly #ports: UploadPorts;
  readonly #settings: UploadSettings;
  readonly #tell: Tell;
  readonly #release: () => void;
  readonly #throttle: Throttle;
  #run: UploadRun | null = null;
  /** The last run has let go of the record. */
  #settled: Promise<void> = Promise.resolve();
  #savedAt = 0;

  constructor(
    record: UploadRecord,
    file: Blob | null,
    ports: UploadPorts,
    settings: UploadSettings,
    tell: Tell,
    release: () => void,
  ) {
    this.record = record;
    this.file = file;
    this.#ports = ports;
    this.#settings = settings;
    this.#tell = tell;
    this.#release = release;
    this.#throttle = new Throttle(ports.clock, () => this.#progressed());
  }

  get session(): UploadSession {
    const session = shown(this.record, this.#run?.stored ?? []);
    if (this.handle && this.record.status === 'needs-file') session.handle = this.handle;
    return session;
  }

  /** It runs, or will by itself. */
  get active(): boolean {
    return isActive(this.record.status);
  }

  /** It runs again only by a command. */
  get stopped(): boolean {
    return /^(paused|failed|needs-file)$/.test(this.record.status);
  }

  get running(): boolean {
    return this.#run !== null;
  }

  /** Runs to its end or to `pause`. Never rejects: the record says how it ended. */
  async start(): Promise<void> {
    await this.#settled;
    // Paused, cancelled or started by another while it waited for the earlier run.
    if (this.#run || this.record.status !== 'queued') return;
    const run = new UploadRun(this.record, this.file, this.#ports, this.#settings, {
      status: (status) => {
        if (this.#run === run) void this.become(status);
      },
      moved: () => {
        if (this.#run === run) this.#moved();
      },
    });
    this.#run = run;
    this.#settled = this.#follow(run);
    await this.#settled;
  }

  async #follow(run: UploadRun): Promise<void> {
    const [done, error] = await run.run().then(
      (done) => [done, undefined] as const,
      (error: unknown) => [undefined, error] as const,
    );
    if (this.#run !== run) return;
    // The messages of the end come after the run's last progress.
    this.#throttle.stop();
    if (done) {
      this.record.key = done.key;
      this.record.progress = 100;
      await this.become('completed');
    } else await this.#ended(error);
    if (this.#run === run) this.#run = null;
  }

  /** Resolves when this pause and those before it hold. */
  pause(finish: boolean): Promise<unknown> {
    this.pausing = Promise.all([this.pausing, this.#pause(finish)]);
    return this.pausing;
  }

  async #pause(finish: boolean): Promise<void> {
    const run = this.#run;
    run?.stop(finish);
    if (finish && run) {
      await this.#settled;
      // It ended otherwise before the pause took hold.
      if (!this.active) return;
    }
    this.#letGo();
    await this.become('paused');
  }

  /** Resolves when no request of it is under way. */
  async cancel(): Promise<void> {
    this.#run?.stop();
    this.#letGo();
    delete this.record.error;
    await this.become('cancelled');
    await this.#ports.store.dropFile(this.record.id);
    await this.#settled;
  }

  /** Lets others have it. */
  release(): void {
    this.#throttle.stop();
    this.#release();
  }

  async become(status: UploadStatus): Promise<void> {
    const { record } = this;
    // Nothing follows these: a step that was under way when they came must not undo them.
    if (isEnded(record)) return;
    record.status = status;
    record.lastActivity = this.#ports.clock.now();
    if (status === 'queued') delete record.error;
    const type = MESSAGE[status] ?? (status.toUpperCase().replace('-', '_') as UploadWorkerResponse['type']);
    const message: UploadWorkerResponse = { ...this.#facts(), type, session: this.session };
    if (status === 'completing') message.step = status;
    if (record.error && status === 'failed') {
      const { message: error, ...more } = record.error;
      Object.assign(message, { error }, more);
    }
    this.#tell(message);
    if (status === 'completed') await this.#ports.store.remove(record.id);
    else await this.#save();
  }

  #letGo(): void {
    this.#throttle.stop();
    this.#run = null;
  }

  async #ended(error: unknown): Promise<void> {
    // `pause` and `cancel` say themselves what has become of it.
    if (error instanceof Stopped) return;
    if (error instanceof FileNeeded) return this.become('needs-file');
    const { code, message, retryable, details } = failureOf(error);
    const uploadId = this.record.id;
    if (code === 'FILE_CHANGED') {
      this.file = null;
      await this.#ports.store.dropFile(uploadId);
    }
    this.record.error = { code, message, retryable, uploadId, details };
    await this.become('failed');
  }

  #moved(): void {
    this.#throttle.touch();
    const now = this.#ports.clock.now();
    if (now - this.#savedAt < SAVE_MS) return;
    this.record.lastActivity = now;
    void this.#save();
  }

  #progressed(): void {
    if (this.#run) this.#tell({ type: 'PROGRESS', ...this.#facts() });
  }

  #facts(): UploadProgress & { uploadId: string; s3Key: string } {
    const { record } = this;
    const { id, key, projectId, fileSize, partSize } = record;
    const run = this.#run?.progress;
    if (run && record.status !== 'completed') record.progress = run.progress;
    return {
      projectId,
      uploadedBytes: Math.round((record.progress / 100) * fileSize),
      totalBytes: fileSize,
      currentChunk: 0,
      totalChunks: partSize && Math.ceil(fileSize / partSize),
      ...run,
      progress: record.progress,
      uploadId: id,
      s3Key: key,
    };
  }

  #save(): Promise<void> {
    this.#savedAt = this.#ports.clock.now();
    return this.#ports.store.put(this.record);
  }
}
