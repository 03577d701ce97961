/**
 * The host's side of a form for a page's last lines. The lines that the page may send are held in the store
 * from before the page has the form: no host sends them until the page has given the form back, or until it is
 * certain what became of it. So a form's key gets one content, and a line goes under one key.
 */

import type { Clock } from '../host/clock.ts';
import type { Exclusive } from '../host/locks.ts';
import type { Message } from '../host/port.ts';
import type { FormGrant } from './delivery.ts';
import type { Sender } from './sender.ts';
import type { Primary } from './spool.ts';

/** After a failure no form is asked for within this time (ms). */
const RETRY_MS = 60_000;
/** Runs that follow each other sooner leave little for a form (ms). */
const SHORTEST_INTERVAL_MS = 10_000;
/** Runs that follow each other later come after the form's end (ms): its key would be wasted. */
const LONGEST_INTERVAL_MS = 240_000;
/** A page that does not answer within this time is taken for closed (ms). */
const ANSWER_MS = 10_000;

export interface FormPorts {
  clock: Clock;
  exclusive: Exclusive;
  /** Runs after everything that was committed before. */
  inOrder<T>(f: () => Promise<T>): Promise<T>;
}

export class ExitForm {
  readonly #ports: FormPorts;
  readonly #send: (message: Message) => void;
  /** The page's visit that wants a form; 0: the page sends none. */
  #visit = 0;
  /** What the page has or is about to get. */
  #given: { grant: FormGrant; sender: Sender; store: Primary } | null = null;
  #asking: Promise<FormGrant | null> | null = null;
  /** Counts runs. */
  #runs = 0;
  /** No other form before the next run. */
  #spent = false;
  #notBefore = 0;
  #answered: () => void = () => {};

  constructor(ports: FormPorts, send: (message: Message) => void) {
    this.#ports = ports;
    this.#send = send;
  }

  /** Whether the page may still send to this key, and can be asked for it. */
  has(key: string): boolean {
    return this.#given?.grant.key === key;
  }

  /** The page wants forms from now on, and has none. */
  async wanted(visit: number, tab: string, store: Primary | null): Promise<void> {
    [this.#visit, this.#spent, this.#given] = [visit, false, null];
    this.#answered();
    await this.#ports.inOrder(async () => store?.release(tab, (held) => held.visit < visit));
  }

  /** Gets a form for what a tab has stored and a run sends within `withinMs`, unless its page has one. */
  async offer(sender: Sender, store: Primary, tab: string, withinMs: number): Promise<void> {
    const ports = this.#ports;
    const { clock } = ports;
    if (!this.#visit || this.#given || this.#asking || this.#spent || clock.now() < this.#notBefore) return;
    // The run takes most of these lines, and a form that is left without any wastes its key.
    if (sender.running) return;
    if (withinMs < SHORTEST_INTERVAL_MS || withinMs > LONGEST_INTERVAL_MS) return;
    const runs = this.#runs;
    this.#asking = sender.delivery.grantForm();
    try {
      const grant = await this.#asking;
      if (!grant) this.#notBefore = clock.now() + RETRY_MS;
      // A run that has begun meanwhile needs the key for its file.
      else if (runs !== this.#runs) sender.delivery.keep(grant);
      // Not while a run seals: it would leave out what it was to send.
      else
        await ports.exclusive(sender.lock, () => ports.inOrder(() => this.#give(grant, sender, store, tab)));
    } catch {
      // The database fails: the next commit meets the same. The page does not get the form.
      this.#notBefore = clock.now() + RETRY_MS;
    } finally {
      this.#asking = null;
    }
  }

  async #give(grant: FormGrant, sender: Sender, store: Primary, tab: string): Promise<void> {
    const visit = this.#visit;
    const { key, until, post } = grant;
    const from = await store.hold({ tab, scope: sender.scope, key, until, visit });
    // A run has sealed everything meanwhile.
    if (from === undefined) return sender.delivery.keep(grant);
    this.#given = { grant, sender, store };
    this.#send({ command: 'EXIT_FORM', form: { ...post, key, until, from, visit } });
  }

  /** Asks the page for the form before a run; `false` if it is not back, as with a page that is `gone`. */
  async recall(gone: boolean): Promise<boolean> {
    this.#spent = false;
    this.#runs += 1;
    await this.#asking?.catch(() => null);
    if (!this.#given || gone) return !this.#given;
    this.#send({ command: 'EXIT_FORM', recalled: this.#given.grant.key });
    return new Promise((resolve) => {
      const cancel = this.#ports.clock.after(ANSWER_MS, () => resolve(false));
      this.#answered = () => {
        cancel();
        resolve(true);
      };
    });
  }

  /** The page will not send the form: its lines are free, and the next file gets its key. */
  async forgotten(key: string, tab: string): Promise<void> {
    const given = this.#given;
    if (given?.grant.key !== key) return;
    const { grant, sender, store } = given;
    this.#spent = true;
    try {
      await this.#ports.inOrder(() => store.release(tab, (held) => held.key === key));
      sender.delivery.keep(grant);
    } finally {
      if (this.#given === given) this.#given = null;
      this.#answered();
    }
  }
}
