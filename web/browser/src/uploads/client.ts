/** The page's side: commands to the upload worker, and what it tells of the uploads. */

import { newId } from '../host/clock.ts';
import { type Connected, connect, extendsLifetime, type HostKind, withWorker } from '../host/host.ts';
import { type Message, valuesOf } from '../host/port.ts';
import { UploadFailure } from './errors.ts';
import {
  type FileSource,
  isActive,
  type StartOptions,
  type UploadProgress,
  type UploadSession,
  type UploadWorkerMessage,
  type UploadWorkerResponse,
} from './protocol.ts';
import type { UploadsOptions } from './settings.ts';
import { OWN_HOSTS } from './workers.ts';

/** The types of `UploadWorkerResponse` in lower case, and `change` after any of them. */
export type UploadEvent =
  | 'progress'
  | 'complete'
  | 'error'
  | 'paused'
  | 'cancelled'
  | 'needs-file'
  | 'queued'
  | 'waiting'
  | 'removed'
  | 'sessions'
  | 'change';

type Listener = (message: UploadWorkerResponse) => void;
type Fields = Omit<UploadWorkerMessage, 'type' | 'request'>;

interface Call {
  resolve(): void;
  reject(error: unknown): void;
}

const READY = 'UPLOAD_WORKER_READY';

export class Uploads {
  readonly #options: UploadsOptions;
  #connected: Promise<Connected> | undefined;
  #host: HostKind | undefined;
  #sessions = new Map<string, UploadSession>();
  #progress = new Map<string, UploadProgress>();
  #listeners = new Map<UploadEvent, Set<Listener>>();
  #calls = new Map<number, Call>();
  #requests = 0;
  #durable: boolean | undefined;
  /** How often a worker that fails is followed by another without a command. */
  #restarts = 2;
  /** Ends the listening to the page. */
  readonly #ended = new AbortController();
  readonly #ask = (event: BeforeUnloadEvent) => event.preventDefault();

  constructor(options: UploadsOptions) {
    this.#options = options;
    if (typeof window === 'undefined') return;
    // A controller is an option itself: `{ signal }`.
    const ended = this.#ended;
    const network = () => this.#post({ command: 'NETWORK', online: navigator.onLine }, this.#connect());
    addEventListener('online', network, ended);
    addEventListener('offline', network, ended);
    // A page in the back/forward cache must get no messages: they would evict it.
    addEventListener('pagehide', () => this.#post({ command: 'LEAVE' }), ended);
    addEventListener('pageshow', ({ persisted }) => persisted && this.#post(this.#hello()), ended);
    // After a failure a command tries again, or the return of the network.
    this.#connect().catch(() => {});
  }

  /** Where the uploads run; `undefined` until the worker has answered. */
  get host(): HostKind | undefined {
    return this.#host;
  }

  /** Whether uploads survive a restart of the browser; `undefined` until the worker has answered. */
  get durable(): boolean | undefined {
    return this.#durable;
  }

  /** Queues the file. Resolves with the upload's id, rejects with an `UploadFailure` if it is refused. */
  async start(
    file: FileSource,
    { uploadId = newId(), s3Key, ...options }: StartOptions & { uploadId?: string; s3Key?: string } = {},
  ): Promise<string> {
    await this.#send('START_UPLOAD', { uploadId, file, options, s3Key });
    return uploadId;
  }

  /** No request of the upload begins after this resolves. `finish` lets the parts under way end. */
  pause(uploadId: string, { finish = false } = {}): Promise<void> {
    return this.#send('PAUSE_UPLOAD', { uploadId, finish });
  }

  /** With a file where the upload `needs-file`. A kept handle asks for its permission: call it on a click. */
  async resume(uploadId: string, file?: FileSource): Promise<void> {
    if (file) return this.#send('RESUME_WITH_FILE', { uploadId, file });
    const handle = this.#sessions.get(uploadId)?.handle as
      | { requestPermission?(mode: { mode: 'read' }): Promise<unknown> }
      | undefined;
    await handle?.requestPermission?.({ mode: 'read' });
    return this.#send('RESUME_UPLOAD', { uploadId });
  }

  /** Ends the upload and frees its parts; offline, as soon as the network is back. */
  cancel(uploadId: string): Promise<void> {
    return this.#send('CANCEL_UPLOAD', { uploadId });
  }

  /** Runs a failed upload again from where it stopped. */
  retry(uploadId: string): Promise<void> {
    return this.#send('RETRY_UPLOAD', { uploadId });
  }

  /** Takes the upload off the list; one that has not ended is cancelled. */
  remove(uploadId: string): Promise<void> {
    return this.#send('REMOVE_UPLOAD', { uploadId });
  }

  pauseAll(): Promise<void> {
    return this.#send('PAUSE_ALL');
  }

  resumeAll(): Promise<void> {
    return this.#send('RESUME_ALL');
  }

  /** Resumes the interrupted uploads of a project. */
  resumeInterrupted(projectId: string): Promise<void> {
    return this.#send('RESUME_INTERRUPTED_UPLOAD', { projectId });
  }

  /** Bytes per second of all uploads together; `null` is no limit. */
  setBandwidthLimit(bytesPerSec: number | null): Promise<void> {
    return this.#send('SET_LIMIT', { bytesPerSec });
  }

  /** The uploads that wait, in this order. */
  reorder(uploadIds: string[]): Promise<void> {
    return this.#send('REORDER', { uploadIds });
  }

  /** All uploads of all tabs, oldest first. */
  list(): UploadSession[] {
    return [...this.#sessions.values()].sort((one, other) => +one.startedAt - +other.startedAt);
  }

  progressOf(uploadId: string): UploadProgress | undefined {
    return this.#progress.get(uploadId);
  }

  /** The result removes the listener. */
  on(event: UploadEvent, listener: Listener): () => void {
    const listeners = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, listeners.add(listener));
    return () => listeners.delete(listener);
  }

  /** Leaves the worker. A shared one goes on; a dedicated one ends, and its uploads wait for the next page. */
  async destroy(): Promise<void> {
    this.#ended.abort(new UploadFailure('DESTROYED', 'destroyed'));
    this.#listeners.clear();
    this.#fail(this.#ended.signal.reason);
    this.#post({ command: 'LEAVE' });
    await this.#connected?.then(end, () => {});
  }

  async #connect(): Promise<Connected> {
    this.#ended.signal.throwIfAborted();
    const { host = 'auto', worker } = this.#options;
    // By itself it takes no shared worker that ends with its last tab: it has nothing over a dedicated one, and
    // Firefox's (153) never finishes reading the middle of a file.
    const choice = host === 'auto' && !extendsLifetime() ? 'dedicated' : host;
    this.#connected ??= connect(
      choice,
      withWorker(OWN_HOSTS, 'logferry-uploads-1', worker),
      this.#hello(),
      READY,
      (message) => this.#receive(message),
      (reason) => this.#lost(reason),
    ).then(
      (connected) => {
        // The list of the uploads follows, which the listeners hear.
        this.#host = connected.kind;
        return connected;
      },
      (error) => {
        this.#connected = undefined;
        throw error;
      },
    );
    return this.#connected;
  }

  /** The worker has died: a new one finds the sessions in the database. */
  #lost(reason: string): void {
    this.#fail(new UploadFailure('NETWORK_ERROR', reason));
    // An error does not end a worker, and only one may hold the uploads.
    this.#connected?.then(end);
    this.#connected = undefined;
    this.#restarts -= 1;
    if (this.#restarts >= 0) this.#connect().catch(() => {});
  }

  #fail(reason: unknown): void {
    for (const call of this.#calls.values()) call.reject(reason);
    this.#calls.clear();
  }

  async #send(type: UploadWorkerMessage['type'], fields?: Fields): Promise<void> {
    if (typeof window === 'undefined') return;
    return new Promise((resolve, reject) => {
      this.#requests += 1;
      const message = { command: type, type, ...fields, request: this.#requests };
      this.#calls.set(message.request, { resolve, reject });
      this.#post(message, this.#connect(), reject);
    });
  }

  #hello(): Message {
    const settings = valuesOf(this.#options);
    return { command: 'UPLOAD_WORKER_INITIALIZE', settings, online: navigator.onLine };
  }

  #post(message: Message, connected = this.#connected, failed: (error: unknown) => void = () => {}): void {
    connected?.then(({ port }) => port.postMessage(message)).catch(failed);
  }

  #receive(data: Message): void {
    const { command } = data;
    if (command === READY) return;
    if (command === 'TOKEN_NEEDED') return void this.#giveToken(data);
    const message = data as unknown as UploadWorkerResponse;
    const { type, request, code = 'NETWORK_ERROR', error = '', details } = message;
    if (request !== undefined) {
      const call = this.#calls.get(request);
      this.#calls.delete(request);
      if (type === 'ERROR') call?.reject(new UploadFailure(code, error, details));
      else call?.resolve();
      return;
    }
    this.#learn(message);
    this.#emit(type.toLowerCase().replace('_', '-') as UploadEvent, message);
    this.#emit('change', message);
    this.#guard();
  }

  #learn(message: UploadWorkerResponse): void {
    const { type, uploadId = '', session, sessions, durable } = message;
    this.#durable = durable ?? this.#durable;
    // All uploads: others were removed while this page was in the back/forward cache.
    if (sessions) for (const known of [this.#sessions, this.#progress]) known.clear();
    for (const each of sessions ?? [session]) if (each) this.#sessions.set(each.uploadId, each);
    const known = this.#sessions.get(uploadId);
    if (known && message.progress !== undefined) {
      this.#sessions.set(uploadId, { ...known, progress: message.progress });
      this.#progress.set(uploadId, message as unknown as UploadProgress);
    }
    if (type === 'REMOVED' || type === 'CANCELLED') {
      this.#sessions.delete(uploadId);
      this.#progress.delete(uploadId);
    }
  }

  async #giveToken({ call, reason }: Message): Promise<void> {
    const given = (async () => this.#options.getToken({ reason }))();
    // Without one the upload fails with AUTH_FAILED, which says that the page gave no token.
    this.#post({ command: 'TOKEN', call, token: await given.catch(() => null) });
  }

  #emit(event: UploadEvent, message: UploadWorkerResponse): void {
    for (const listener of this.#listeners.get(event) ?? [])
      try {
        listener(message);
      } catch (error) {
        reportError(error);
      }
  }

  /** Asks before the tab closes while that would interrupt an upload: the only use of `beforeunload`. */
  #guard(): void {
    const running = this.list().some(({ status, elsewhere }) => !elsewhere && isActive(status));
    // Adding it twice adds it once.
    const change = running && this.#host !== 'shared' ? addEventListener : removeEventListener;
    change('beforeunload', this.#ask, this.#ended);
  }
}

function end({ port }: Connected): void {
  (port.terminate ?? port.close)?.call(port);
}

export function createUploads(options: UploadsOptions): Uploads {
  return new Uploads(options);
}
