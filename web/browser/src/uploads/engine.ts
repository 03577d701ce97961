/**
 * All uploads of one worker: the commands of its pages, the queue, and what is found after a restart.
 * An upload belongs to the worker that holds its lock; the others show it and forward commands.
 */

import { invalid } from './errors.ts';
import { Freeing } from './freeing.ts';
import { isHandle, newRecord, openFile, optionsOf, sameFile, scopeOf } from './incoming.ts';
import type { Locks } from './ports.ts';
import type {
  FileSource,
  UploadSession,
  UploadSettings,
  UploadWorkerMessage,
  UploadWorkerResponse,
} from './protocol.ts';
import { UploadQueue } from './queue.ts';
import { isEnded, isOver, lockName, shown, type UploadRecord } from './sessions.ts';
import { Tabs, type TabsPorts } from './tabs.ts';
import { type Tell, Upload, type UploadPorts } from './upload.ts';

export interface EnginePorts extends UploadPorts, TabsPorts {
  locks: Locks;
}

export class UploadEngine {
  readonly #settings: UploadSettings;
  readonly #ports: EnginePorts;
  readonly #tellPages: Tell;
  readonly #uploads = new Map<string, Upload>();
  readonly #queue: UploadQueue;
  readonly #tabs: Tabs;
  readonly #freeing: Freeing;
  /** Uploads of other workers, which are taken over when those end. */
  readonly #watched = new Set<string>();
  /** That of the upload which was queued last. */
  #order = 0;

  constructor(settings: UploadSettings, ports: EnginePorts, tell: Tell) {
    this.#settings = settings;
    this.#ports = ports;
    this.#tellPages = tell;
    this.#queue = new UploadQueue(settings.maxActive);
    this.#freeing = new Freeing(ports);
    this.#tabs = new Tabs(ports, {
      own: () => [...this.#uploads.values()].map((upload) => upload.session),
      holds: (id) => this.#uploads.has(id),
      run: (message) => this.#held(message),
      relay: tell,
      appeared: (session) => void this.#watch(session.uploadId),
    });
  }

  /** Takes over what earlier workers left. */
  async open(): Promise<void> {
    for (const record of await this.#ports.store.all(scopeOf(this.#settings))) {
      if (record.status === 'cancelled') void this.#freeing.free(record);
      else if (isOver(record, this.#ports.clock.now())) await this.#ports.store.remove(record.id);
      else {
        const release = await this.#ports.locks.tryHold(lockName(record.id));
        if (release) await this.#adopt(record.id, release);
        // Its tab may have closed meanwhile, and left it to this one.
        else if (!this.#uploads.has(record.id)) {
          this.#tabs.show(shown(record, []));
          void this.#watch(record.id);
        }
      }
    }
  }

  get sessions(): UploadSession[] {
    return [...[...this.#uploads.values()].map((upload) => upload.session), ...this.#tabs.sessions];
  }

  /** The list for one page. */
  get listed(): UploadWorkerResponse {
    return { type: 'SESSIONS', sessions: this.sessions, durable: this.#ports.store.durable };
  }

  /** Runs a command, here or in the tab that holds the upload. Rejects with an `UploadFailure`. */
  async handle(message: UploadWorkerMessage): Promise<unknown> {
    const { type, uploadId: id } = message;
    if (type === 'START_UPLOAD') return this.#start(message);
    // A command for an upload that another tab holds runs there.
    if (id && !this.#uploads.has(id) && this.#tabs.shows(id)) {
      const done = this.#tabs.forward(message);
      return type === 'REMOVE_UPLOAD' ? done.catch((error) => this.#removeEnded(id, error)) : done;
    }
    // One that names none is for all tabs; but each worker has a queue of its own.
    if (!id && type !== 'REORDER') this.#tabs.all(message);
    return this.#held(message);
  }

  /** A command for what this worker holds. */
  async #held(message: UploadWorkerMessage): Promise<unknown> {
    const { type, uploadId = '', projectId, finish = false } = message;
    const all = [...this.#uploads.values()];
    switch (type) {
      case 'SET_LIMIT':
        return this.#ports.pace.limit(message.bytesPerSec ?? null);
      case 'REORDER':
        return this.#reorder(message.uploadIds ?? []);
      case 'PAUSE_ALL':
        return Promise.all(all.map((each) => this.#pause(each, finish)));
      case 'RESUME_ALL':
      case 'RESUME_INTERRUPTED_UPLOAD': {
        const own = all.filter(({ record }) => type === 'RESUME_ALL' || record.projectId === projectId);
        return Promise.all(own.filter(({ file }) => file).map((each) => this.#resume(each)));
      }
    }
    const upload = this.#uploads.get(uploadId);
    if (!upload) throw invalid(`there is no upload ${uploadId.slice(0, 64)}`);
    switch (type) {
      case 'PAUSE_UPLOAD':
        return this.#pause(upload, finish);
      case 'RESUME_UPLOAD':
      case 'RETRY_UPLOAD':
      case 'RESUME_WITH_FILE':
        return this.#resume(upload, message.file);
      case 'CANCEL_UPLOAD':
        return this.#cancel(upload);
      case 'REMOVE_UPLOAD':
        return this.#remove(upload);
      default:
        throw invalid(`unknown message: ${String(type).slice(0, 64)}`);
    }
  }

  async #start(message: UploadWorkerMessage): Promise<string> {
    const { store, clock, locks, newId } = this.#ports;
    const id = message.uploadId || newId();
    if (!message.file) throw invalid('no file is given');
    const file = await openFile(message.file);
    const record = await newRecord(id, file, optionsOf(message), this.#settings, clock.now());
    const release = this.#uploads.has(id) ? null : await locks.tryHold(lockName(id));
    if (!release) throw invalid('an upload of this id exists');
    await this.#keep(id, message.file);
    await store.put(record);
    const upload = this.#hold(record, file, release);
    await this.#enqueue(upload);
    return id;
  }

  #hold(record: UploadRecord, file: Blob | null, release: () => void): Upload {
    this.#tabs.forget(record.id);
    const upload = new Upload(
      record,
      file,
      this.#ports,
      this.#settings,
      (message) => this.#tell(message),
      release,
    );
    this.#uploads.set(record.id, upload);
    return upload;
  }

  async #enqueue(upload: Upload): Promise<void> {
    const { record } = upload;
    this.#order = Math.max(this.#order + 1, this.#ports.clock.now());
    record.order = this.#order;
    this.#queue.add(record.id, record.priority);
    await upload.become('queued');
    this.#pump();
  }

  #pump(): void {
    for (const id of this.#queue.next()) {
      const upload = this.#uploads.get(id);
      if (upload) void this.#run(upload);
      else this.#queue.remove(id);
    }
  }

  async #run(upload: Upload): Promise<void> {
    await upload.start();
    // A pause has taken it out already, and a resume may have put it back.
    if (upload.running || upload.record.status === 'queued') return;
    this.#queue.remove(upload.record.id);
    if (upload.record.status === 'completed') upload.release();
    this.#pump();
  }

  async #pause(upload: Upload, finish: boolean): Promise<void> {
    if (!upload.active) return;
    this.#queue.remove(upload.record.id);
    await upload.pause(finish);
    this.#pump();
  }

  async #resume(upload: Upload, source?: FileSource): Promise<void> {
    await upload.pausing;
    if (!upload.stopped) return;
    const { record } = upload;
    const file = source ? await sameFile(record, source) : (upload.file ?? (await this.#kept(upload)));
    // Another command may have come meanwhile.
    if (!upload.stopped) return;
    upload.file = file;
    // Not awaited: if it is cancelled now, this comes before.
    if (source) void this.#keep(record.id, source);
    if (file) return this.#enqueue(upload);
    await upload.become('needs-file');
    throw invalid(`pick "${record.fileName}" again to resume its upload`);
  }

  async #cancel(upload: Upload): Promise<void> {
    const { id } = upload.record;
    if (isEnded(upload.record)) return;
    this.#queue.remove(id);
    this.#uploads.delete(id);
    const ended = upload.cancel();
    this.#pump();
    await ended;
    upload.release();
    await this.#freeing.free(upload.record);
  }

  async #remove(upload: Upload): Promise<void> {
    await this.#cancel(upload);
    this.#uploads.delete(upload.record.id);
    this.#tell({ type: 'REMOVED', uploadId: upload.record.id });
  }

  /** The tab that ended the upload may be gone: then the list is all that has it. */
  #removeEnded(uploadId: string, error: unknown): void {
    if (this.#tabs.isUnfinished(uploadId)) throw error;
    this.#tabs.forget(uploadId);
    this.#tell({ type: 'REMOVED', uploadId });
  }

  async #reorder(ids: string[]): Promise<void> {
    this.#queue.reorder(ids);
    const changed = this.#queue.waiting.map(({ id, priority }, order) => {
      const upload = this.#uploads.get(id);
      if (upload) Object.assign(upload.record, { priority, order });
      return upload?.become('queued');
    });
    await Promise.all(changed);
  }

  /** Waits until the worker that holds the upload is gone, then takes it over. */
  async #watch(id: string): Promise<void> {
    if (this.#watched.has(id)) return;
    this.#watched.add(id);
    const release = await this.#ports.locks.hold(lockName(id));
    this.#watched.delete(id);
    await this.#adopt(id, release);
    this.#tabs.takeBack(id);
  }

  async #adopt(id: string, release: () => void): Promise<void> {
    const record = await this.#ports.store.get(id);
    if (!record || isEnded(record) || this.#uploads.has(id)) {
      release();
      if (record?.status === 'cancelled') await this.#freeing.free(record);
      // It was never written down, and the tab that had it is gone.
      if (!record && this.#tabs.isUnfinished(id)) {
        this.#tabs.forget(id);
        this.#tellPages({ type: 'REMOVED', uploadId: id });
      }
      return;
    }
    const before = record.status;
    const upload = this.#hold(record, null, release);
    upload.file = await this.#kept(upload);
    // A command came meanwhile.
    if (record.status !== before) return;
    const { autoResume } = this.#settings;
    if (before === 'failed') return upload.become('failed');
    if (before === 'completing' && autoResume) return this.#enqueue(upload);
    if (!upload.file) return upload.become('needs-file');
    if (before === 'paused' || before === 'needs-file' || !autoResume) return upload.become('paused');
    return this.#enqueue(upload);
  }

  /** Handles are kept whatever they weigh; of small files the bytes are. */
  async #keep(id: string, source: FileSource): Promise<void> {
    if (isHandle(source) || source.size <= this.#settings.keepCopiesUpTo)
      await this.#ports.store.keepFile(id, source);
  }

  /** The file as it is kept: a copy, or a handle whose permission is there. */
  async #kept(upload: Upload): Promise<Blob | null> {
    const kept = (await this.#ports.store.file(upload.record.id)) ?? null;
    upload.handle = isHandle(kept) ? kept : undefined;
    // Not permitted any more, gone, or another file by now: the user decides.
    return isHandle(kept) ? sameFile(upload.record, kept).catch(() => null) : kept;
  }

  #tell(message: UploadWorkerResponse): void {
    this.#tellPages({ ...message, durable: this.#ports.store.durable });
    this.#tabs.tell(message);
  }
}
