/** The uploads of other tabs' workers: shown here, commanded there. */

import type { Clock } from '../host/clock.ts';
import { type UploadErrorCode, UploadFailure } from './errors.ts';
import type { Channel } from './ports.ts';
import type { UploadSession, UploadWorkerMessage, UploadWorkerResponse } from './protocol.ts';
import { isEnded } from './sessions.ts';

/** A tab that does not answer a command for so long is frozen or gone (ms). */
const ANSWER_MS = 10_000;

type Note =
  | { kind: 'hello' }
  | { kind: 'event'; response: UploadWorkerResponse }
  | { kind: 'command'; call: string; message: UploadWorkerMessage }
  | { kind: 'heard'; call: string }
  | { kind: 'taken'; call: string; error?: { code: UploadErrorCode; message: string } };

/** A command that another worker has got, or not yet. */
interface Call {
  message: UploadWorkerMessage;
  heard(): void;
  end(result: Promise<unknown>): void;
}

export interface TabsPorts {
  channel: Channel;
  clock: Clock;
  newId(): string;
}

export interface TabsEvents {
  /** The uploads that this worker holds. */
  own(): UploadSession[];
  holds(id: string): boolean;
  /** Runs another tab's command. */
  run(message: UploadWorkerMessage): Promise<unknown>;
  /** Tells this worker's pages. */
  relay(response: UploadWorkerResponse): void;
  /** Another worker has an upload that was not known here. */
  appeared(session: UploadSession): void;
}

export class Tabs {
  readonly #ports: TabsPorts;
  readonly #events: TabsEvents;
  #sessions = new Map<string, UploadSession>();
  #calls = new Map<string, Call>();

  constructor(ports: TabsPorts, events: TabsEvents) {
    this.#ports = ports;
    this.#events = events;
    ports.channel.onmessage = ({ data }) => this.#receive(data as Note);
    this.#post({ kind: 'hello' });
  }

  /** Sends what this worker's pages get to the pages of the other workers. */
  tell(response: UploadWorkerResponse): void {
    this.#post({ kind: 'event', response });
  }

  get sessions(): UploadSession[] {
    return [...this.#sessions.values()];
  }

  /** As the database has it; what its own worker has sent is newer. */
  show(session: UploadSession): void {
    if (!this.#sessions.has(session.uploadId)) this.#keep(session);
  }

  shows(id: string): boolean {
    return this.#sessions.has(id);
  }

  isUnfinished(id: string): boolean {
    const session = this.#sessions.get(id);
    return session !== undefined && !isEnded(session);
  }

  forget(id: string): void {
    this.#sessions.delete(id);
  }

  /** For all workers, without an answer. */
  all(message: UploadWorkerMessage): void {
    this.#post({ kind: 'command', call: '', message });
  }

  /** Lets the worker that holds the upload run the command. */
  forward(message: UploadWorkerMessage): Promise<unknown> {
    const call = this.#ports.newId();
    return new Promise((resolve) => {
      const end = (result: Promise<unknown>) => {
        heard();
        this.#calls.delete(call);
        resolve(result);
      };
      const heard = this.#ports.clock.after(ANSWER_MS, () =>
        end(refused('NETWORK_ERROR', 'the tab that runs this upload does not answer')),
      );
      this.#calls.set(call, { message, heard, end });
      this.#post({ kind: 'command', call, message });
    });
  }

  /** The worker that held the upload is gone: its commands run here. */
  takeBack(id: string): void {
    for (const { message, end } of this.#calls.values())
      if (message.uploadId === id) end(this.#events.run(message));
  }

  #post(note: Note): void {
    this.#ports.channel.postMessage(note);
  }

  #receive(note: Note): void {
    if (note.kind === 'hello') {
      const sessions = this.#events.own();
      if (sessions.length > 0) this.tell({ type: 'SESSIONS', sessions });
    } else if (note.kind === 'event') this.#event(note.response);
    else if (note.kind === 'heard') this.#calls.get(note.call)?.heard();
    else if (note.kind === 'taken') {
      const { call, error } = note;
      this.#calls.get(call)?.end(error ? refused(error.code, error.message) : Promise.resolve());
    } else void this.#command(note.call, note.message);
  }

  async #command(call: string, message: UploadWorkerMessage): Promise<void> {
    if (call && !this.#events.holds(message.uploadId ?? '')) return;
    if (call) this.#post({ kind: 'heard', call });
    try {
      await this.#events.run(message);
      if (call) this.#post({ kind: 'taken', call });
    } catch (error) {
      if (!call) return;
      const { code, message: text } = error as UploadFailure;
      this.#post({ kind: 'taken', call, error: { code, message: text } });
    }
  }

  #event(response: UploadWorkerResponse): void {
    const { type, uploadId = '', session, sessions, progress } = response;
    for (const each of sessions ?? [session]) if (each) this.#learn(each);
    if (type === 'REMOVED' || type === 'CANCELLED') this.#sessions.delete(uploadId);
    const known = this.#sessions.get(uploadId);
    if (known) known.progress = progress ?? known.progress;
    // A list of another worker is no list of all: the pages get its uploads one by one.
    if (type !== 'SESSIONS') this.#events.relay(response);
  }

  #keep(session: UploadSession): void {
    session.elsewhere = true;
    this.#sessions.set(session.uploadId, session);
  }

  #learn(session: UploadSession): void {
    // What this worker holds it knows better.
    if (this.#events.holds(session.uploadId)) return;
    const fresh = !this.#sessions.has(session.uploadId);
    this.#keep(session);
    if (fresh) this.#events.appeared(session);
  }
}

const refused = (code: UploadErrorCode, message: string): Promise<never> =>
  Promise.reject(new UploadFailure(code, message));
