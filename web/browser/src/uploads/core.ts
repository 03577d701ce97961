/**
 * One run of one upload: from its session, new or old, to the completed object. A run that is
 * stopped or killed leaves its session, and the next run sends only what S3 lacks.
 */

import { FileNeeded, isGone } from './errors.ts';
import { checkReadable, type LanePorts, sendParts } from './lanes.ts';
import { Patience, type PatiencePorts } from './patience.ts';
import { choosePartSize, fitting, type Part, plan } from './plan.ts';
import type { UploadedPart, UploadProgress, UploadStatus } from './protocol.ts';
import type { Completed, SessionName } from './service.ts';
import type { UploadRecord, UploadStore } from './sessions.ts';
import { Position, Speed } from './speed.ts';

/** Rounds of sending what S3 lacks after a complete that was refused. */
const ROUNDS = 3;

export interface RunPorts extends LanePorts, PatiencePorts {
  /** Gets the record whenever a restart must find it changed. */
  store: Pick<UploadStore, 'put'>;
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
  #parts: Part[] = [];
  #etags = new Map<number, string>();
  #status: UploadStatus = 'uploading';
  /** What it does when the network is there. */
  #phase: UploadStatus = 'uploading';
  /** Parts are under way, or were. */
  #sending = false;
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
    // A session that has ended is replaced once.
    for (let replaced = false; ; replaced = true) {
      try {
        return await this.#sendAndComplete(await this.#begin());
      } catch (error) {
        if (this.#stop.signal.aborted) throw new Stopped();
        if (!isGone(error) || replaced || !this.#file) throw error;
        Object.assign(this.#record, { sessionId: '', key: '', progress: 0 });
        this.#position = new Position(this.#record.fileSize, 0);
        this.#etags = new Map();
        await this.#ports.store.put(this.#record);
      }
    }
  }

  /** Ends the run. No request begins after this; with `finish`, the parts under way end first. */
  stop(finish = false): void {
    this.#draining = true;
    if (!finish || !this.#sending) this.#stop.abort();
  }

  get progress(): Pick<
    UploadProgress,
    'progress' | 'uploadedBytes' | 'currentChunk' | 'speed' | 'estimatedTimeRemaining'
  > {
    const { progress, uploadedBytes } = this.#position;
    const currentChunk = Math.min(this.#etags.size + 1, Math.max(1, this.#parts.length));
    const shown = { progress, uploadedBytes, currentChunk };
    if (this.#status !== 'uploading') return shown;
    const now = this.#ports.clock.now();
    const left = this.#record.fileSize - uploadedBytes;
    return {
      ...shown,
      speed: this.#speed.bytesPerSec(now),
      estimatedTimeRemaining: this.#speed.secondsFor(left, now),
    };
  }

  get stored(): UploadedPart[] {
    return this.#parts.flatMap(({ number: partNumber, size }) => {
      const etag = this.#etags.get(partNumber);
      return etag === undefined ? [] : [{ partNumber, etag, size }];
    });
  }

  /** Makes the session if there is none yet, and tells whether it did. */
  async #begin(): Promise<boolean> {
    const record = this.#record;
    if (record.sessionId) return false;
    if (!this.#file) throw new FileNeeded();
    const { service, pace, store } = this.#ports;
    const { fileName: filename, fileType: type, fileSize: size, metadata } = record;
    const { signal } = this.#stop;
    const created = await this.#patience.run(signal, () =>
      service.create({ filename, type, size, metadata }, signal),
    );
    const wanted = record.partSize || this.#settings.chunkSize;
    const partSize = choosePartSize(size, created.partSize, wanted, pace.limited);
    Object.assign(record, created, { partSize });
    await store.put(record);
    return true;
  }

  async #sendAndComplete(fresh: boolean): Promise<Completed> {
    const { signal } = this.#stop;
    const { service } = this.#ports;
    const { sessionId, key, fileSize, partSize } = this.#record;
    const session: SessionName = { sessionId, key };
    this.#parts = plan(fileSize, partSize);
    const [first] = this.#parts;
    if (first) this.#patience.probe = (until) => service.reachable(session, first, until);
    for (let round = 1; ; round += 1) {
      signal.throwIfAborted();
      // S3 decides what is stored, never a list of our own.
      if (!fresh || round > 1) {
        try {
          const stored = await this.#patience.run(signal, () => service.parts(session, signal));
          this.#etags = fitting(this.#parts, stored);
        } catch (error) {
          if (!isGone(error)) throw error;
          // An earlier complete may have succeeded unseen.
          const done = await this.#complete(session, new Map());
          if ('incomplete' in done) throw error;
          this.#position.there(fileSize);
          return done;
        }
      }
      await this.#sendMissing(session);
      this.#become('completing');
      const outcome = await this.#complete(session, this.#etags);
      if (!('incomplete' in outcome)) return outcome;
      if (round >= ROUNDS) throw outcome.incomplete;
    }
  }

  async #sendMissing(session: SessionName): Promise<void> {
    const { signal } = this.#stop;
    const [position, etags, file] = [this.#position, this.#etags, this.#file];
    const parts = this.#parts.filter(({ number }) => !etags.has(number));
    position.there(parts.reduce((bytes, { size }) => bytes - size, this.#record.fileSize));
    this.#speed.reset();
    this.#become('uploading');
    this.#moved();
    if (parts.length === 0) return;
    if (!file) throw new FileNeeded();
    this.#sending = true;
    const sending = {
      session,
      file,
      parts,
      position,
      etags,
      parallel: this.#settings.parallel,
      draining: () => this.#draining,
      onMoved: () => this.#moved(),
    };
    await sendParts(this.#ports, this.#patience, sending, signal);
    if (this.#draining) this.#stop.abort();
    signal.throwIfAborted();
    await checkReadable(file);
  }

  #complete(session: SessionName, etags: ReadonlyMap<number, string>) {
    const { signal } = this.#stop;
    return this.#patience.run(signal, () => this.#ports.service.complete(session, etags, signal));
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
