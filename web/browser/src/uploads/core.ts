/**
 * One run of one upload: from its session, new or old, to the completed object. A run that is
 * stopped or killed leaves its session, and the next run sends only what S3 lacks.
 */

import { FileNeeded, SessionGone, UploadFailure } from './errors.ts';
import { type LanePorts, Lanes } from './lanes.ts';
import { Patience, type PatiencePorts } from './patience.ts';
import { choosePartSize, fitting, type Part, plan } from './plan.ts';
import type { UploadedPart, UploadProgress, UploadStatus } from './protocol.ts';
import type { Completed, SessionName } from './service.ts';
import type { UploadRecord } from './sessions.ts';
import { Position, Speed } from './speed.ts';

/** Rounds of sending what S3 lacks after a complete that was refused. */
const ROUNDS = 3;

export interface RunPorts extends LanePorts, PatiencePorts {
  /** Writes the record, so that a restart finds it. */
  save(record: UploadRecord): Promise<void>;
}

export interface RunSettings {
  parallel: number;
  maxRetries: number;
  retryDelayMs: number;
  chunkSize: number;
}

export interface RunEvents {
  status(status: UploadStatus): void;
  /** The bytes have moved; called often. */
  moved(): void;
}

/** A run ended because `stop` was called. */
export class Stopped extends Error {}

export class UploadRun {
  readonly #record: UploadRecord;
  readonly #file: Blob | null;
  readonly #ports: RunPorts;
  readonly #settings: RunSettings;
  readonly #events: RunEvents;
  readonly #patience: Patience;
  readonly #stop = new AbortController();
  readonly #speed = new Speed();
  #position: Position;
  #lanes: Lanes | undefined;
  #parts: Part[] = [];
  #etags = new Map<number, string>();
  #status: UploadStatus = 'uploading';
  /** What it does when the network is there. */
  #phase: UploadStatus = 'uploading';
  #draining = false;

  /** `file` is `null` where only `complete` may be missing. */
  constructor(
    record: UploadRecord,
    file: Blob | null,
    ports: RunPorts,
    settings: RunSettings,
    events: RunEvents,
  ) {
    this.#record = record;
    this.#file = file;
    this.#ports = ports;
    this.#settings = settings;
    this.#events = events;
    this.#position = new Position(record.fileSize, record.progress);
    this.#patience = new Patience(ports, settings, (waiting) => {
      this.#speed.reset();
      this.#become(waiting ? 'waiting' : this.#phase);
    });
  }

  /**
   * Resolves with the completed object. Rejects with `Stopped`, `FileNeeded` or an `UploadFailure`;
   * the record says what remains.
   */
  async run(): Promise<Completed> {
    try {
      return await this.#story();
    } catch (error) {
      if (this.#stop.signal.aborted) throw new Stopped();
      if (error instanceof SessionGone) {
        throw new UploadFailure('SESSION_GONE', 'the upload session has ended; start the upload again');
      }
      throw error;
    }
  }

  /** Ends the run. No request begins after this; with `finish`, the parts under way end first. */
  stop(finish = false): void {
    this.#draining = true;
    if (finish && this.#lanes) this.#lanes.drain();
    else this.#stop.abort(new Stopped());
  }

  get progress(): UploadProgress {
    const { projectId, fileSize } = this.#record;
    const uploadedBytes = this.#position.uploadedBytes;
    const shown: UploadProgress = {
      projectId,
      progress: this.#position.progress,
      uploadedBytes,
      totalBytes: fileSize,
      currentChunk: Math.min(this.#etags.size + 1, Math.max(1, this.#parts.length)),
      totalChunks: this.#parts.length,
    };
    if (this.#status !== 'uploading') return shown;
    const now = this.#ports.clock.now();
    const speed = this.#speed.bytesPerSec(now);
    const left = this.#speed.secondsFor(fileSize - uploadedBytes, now);
    if (speed !== undefined) shown.speed = Math.round(speed);
    if (left !== undefined) shown.estimatedTimeRemaining = left;
    return shown;
  }

  get stored(): UploadedPart[] {
    return this.#parts.flatMap((part) => {
      const etag = this.#etags.get(part.number);
      return etag === undefined ? [] : [{ partNumber: part.number, etag, size: part.size }];
    });
  }

  async #story(): Promise<Completed> {
    // A session that has ended is replaced once.
    for (let replaced = false; ; replaced = true) {
      try {
        const fresh = this.#record.sessionId === '';
        if (fresh) await this.#begin();
        return await this.#sendAndComplete(fresh);
      } catch (error) {
        if (!(error instanceof SessionGone) || replaced || !this.#file) throw error;
        await this.#forgetSession();
      }
    }
  }

  async #begin(): Promise<void> {
    const { fileName, fileType, fileSize, metadata } = this.#record;
    if (!this.#file) throw new FileNeeded();
    const session = { filename: fileName, type: fileType, size: fileSize, metadata };
    // Not aborted by a stop: an answer that is thrown away leaves a session that none can free.
    const created = await this.#patience.run(this.#stop.signal, () => this.#ports.service.create(session));
    this.#record.sessionId = created.sessionId;
    this.#record.key = created.key;
    const { chunkSize } = this.#settings;
    this.#record.partSize = choosePartSize(fileSize, created.partSize, chunkSize, this.#ports.pace.limited);
    await this.#ports.save(this.#record);
  }

  async #forgetSession(): Promise<void> {
    this.#record.sessionId = '';
    this.#record.key = '';
    this.#record.progress = 0;
    this.#position = new Position(this.#record.fileSize, 0);
    this.#etags = new Map();
    await this.#ports.save(this.#record);
  }

  async #sendAndComplete(fresh: boolean): Promise<Completed> {
    const { signal } = this.#stop;
    const { service } = this.#ports;
    const session: SessionName = { sessionId: this.#record.sessionId, key: this.#record.key };
    this.#parts = plan(this.#record.fileSize, this.#record.partSize);
    const [first] = this.#parts;
    if (first) this.#patience.probe = (until) => service.reachable(session, first, until);
    for (let round = 1; ; round += 1) {
      signal.throwIfAborted();
      // S3 decides what is stored, never a list of our own.
      if (!fresh || round > 1) {
        const listed = await this.#listed(session);
        if (!(listed instanceof Map)) return listed;
        this.#etags = listed;
      }
      await this.#sendMissing(session);
      const outcome = await this.#complete(session);
      if (!('incomplete' in outcome)) return outcome;
      if (round >= ROUNDS) throw outcome.incomplete;
    }
  }

  /** What S3 has of the plan; or the object, if an earlier complete succeeded unseen. */
  async #listed(session: SessionName): Promise<Map<number, string> | Completed> {
    const { signal } = this.#stop;
    const { service } = this.#ports;
    try {
      const stored = await this.#patience.run(signal, () => service.parts(session, signal));
      return fitting(this.#parts, stored);
    } catch (error) {
      if (!(error instanceof SessionGone)) throw error;
    }
    const done = await this.#patience.run(signal, () => service.complete(session, new Map(), signal));
    if ('incomplete' in done) throw new SessionGone();
    this.#position.there(this.#record.fileSize);
    return done;
  }

  async #sendMissing(session: SessionName): Promise<void> {
    const missing = this.#parts.filter((part) => !this.#etags.has(part.number));
    const missingBytes = missing.reduce((bytes, part) => bytes + part.size, 0);
    this.#position.there(this.#record.fileSize - missingBytes);
    this.#speed.reset();
    this.#become('uploading');
    this.#moved();
    if (missing.length === 0) return;
    if (!this.#file) throw new FileNeeded();
    this.#lanes = new Lanes(this.#ports, this.#patience, {
      session,
      file: this.#file,
      parts: missing,
      position: this.#position,
      etags: this.#etags,
      parallel: this.#settings.parallel,
      onMoved: () => this.#moved(),
    });
    if (this.#draining) this.#lanes.drain();
    await this.#lanes.run(this.#stop.signal);
    if (this.#draining) throw this.#stopped();
    await this.#checkUnchanged(this.#file);
  }

  async #complete(session: SessionName) {
    const { signal } = this.#stop;
    this.#become('completing');
    return this.#patience.run(signal, () => this.#ports.service.complete(session, this.#etags, signal));
  }

  /** A disk file that was written to since it was picked cannot be read any more. */
  async #checkUnchanged(file: Blob): Promise<void> {
    try {
      await file.slice(0, 1).arrayBuffer();
    } catch {
      throw new UploadFailure('FILE_CHANGED', 'the file was changed or removed while it was uploaded');
    }
  }

  #stopped(): Stopped {
    const reason = new Stopped();
    this.#stop.abort(reason);
    return reason;
  }

  #moved(): void {
    this.#speed.add(this.#ports.clock.now(), this.#position.uploadedBytes);
    this.#events.moved();
  }

  #become(status: UploadStatus): void {
    if (status !== 'waiting') this.#phase = status;
    this.#status = status;
    this.#events.status(status);
  }
}
