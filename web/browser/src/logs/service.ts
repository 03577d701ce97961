/** All the pages of one host, and the scopes that they log to. */

import { type Clock, newId } from '../host/clock.ts';
import type { Port } from '../host/port.ts';
import type { Target } from './api.ts';
import { Connection } from './connection.ts';
import { Sender, type SenderPorts } from './sender.ts';
import { type Primary, Spool } from './spool.ts';
import { DEFAULTS, type Scope } from './types.ts';

export interface ServicePorts extends Omit<SenderPorts, 'spool'> {
  primary: Primary;
}

/** How long a page may take to answer for a token before the next one is asked (ms). */
const TOKEN_ANSWER_MS = 10_000;
/** An ERROR entry is sent after this (ms). */
const URGENT_MS = 5_000;
/** How often what is too old is looked for (ms). */
const EXPIRE_MS = 3_600_000;

/** A scope's sender and the timer of its next regular run. */
interface Lane {
  sender: Sender;
  timer: { at: number; cancel: () => void } | null;
}

export class LogService {
  readonly spool: Spool;
  readonly clock: Clock;
  readonly #ports: SenderPorts;
  readonly #connections = new Set<Connection>();
  readonly #lanes = new Map<string, Lane>();
  #commits: Promise<unknown> = Promise.resolve();
  #expiring = false;
  #notExpire: () => void = () => {};

  constructor(ports: ServicePorts) {
    this.clock = ports.clock;
    this.spool = new Spool(ports.primary, ports.clock);
    this.#ports = { ...ports, spool: this.spool };
  }

  /** Takes a page in. `close` ends the host, where it serves this page alone. */
  serve(port: Port, close: () => void = () => {}): Connection {
    // Pages that have left count until the next one comes: what they have left is sent in their name.
    for (const connection of this.#connections) if (connection.left) this.leave(connection);
    const connection = new Connection(port, this, newId(), close);
    this.#connections.add(connection);
    return connection;
  }

  /** A page that was in the back/forward cache is here again. */
  returned(connection: Connection): void {
    this.#connections.add(connection);
  }

  leave(connection: Connection): void {
    this.#connections.delete(connection);
    for (const [scope, lane] of this.#lanes) if (!this.#wantsUpload(scope)) stop(lane);
  }

  /** Runs `f` after everything that was committed before. */
  inOrder<T>(f: () => Promise<T>): Promise<T> {
    const result = this.#commits.then(f);
    this.#commits = result.catch(() => {});
    return result;
  }

  lane(scope: string): Lane {
    let lane = this.#lanes.get(scope);
    if (!lane) {
      const target = targetOf(scope);
      const sender = new Sender(scope, target, this.#ports, (reason) =>
        this.#askToken(scope, target, reason),
      );
      sender.recall = () => this.#recall(scope);
      sender.isHere = (key) => [...this.#connections].some((one) => !one.left && one.exitForm.has(key));
      lane = { sender, timer: null };
      this.#lanes.set(scope, lane);
    }
    lane.sender.keepTrying = this.#wantsUpload(scope);
    lane.sender.delivery.correctClock = this.#correctsClock(scope);
    return lane;
  }

  /** Whether this host ends when a page does: with others a shared worker lives on, and sends what it left. */
  endsWith(connection: Connection): boolean {
    return [...this.#connections].every((one) => one === connection || one.left);
  }

  /** Asks the pages of a scope for the forms that they have not sent; whether all are back. */
  async #recall(scope: string): Promise<boolean> {
    const of = [...this.#connections].filter((connection) => connection.scope === scope);
    const back = await Promise.all(of.map((connection) => connection.recall()));
    return back.every((one) => one);
  }

  get exclusive(): SenderPorts['exclusive'] {
    return this.#ports.exclusive;
  }

  /** A page has come with its configuration: what earlier visits left is looked at. */
  async started(connection: Connection): Promise<void> {
    await this.#expire();
    if (!connection.config.autoUpload) return;
    if (connection.scope && connection.answersTokens)
      void this.lane(connection.scope).sender.delivery.prepare();
    for (const scope of await this.spool.scopes()) {
      if (this.#wantsUpload(scope) && (await this.spool.hasWork(scope))) this.lane(scope).sender.wake();
    }
  }

  /** Gets a token for a page that uploads by itself. */
  prepare({ scope, config, answersTokens }: Connection): void {
    if (scope && config.autoUpload && answersTokens) void this.lane(scope).sender.delivery.prepare();
  }

  /** Lines were stored: the next regular run is due after `flushIntervalMs`, or sooner. */
  async stored(scope: string, connection: Connection, urgent: boolean): Promise<void> {
    if (!this.#wantsUpload(scope)) return;
    const lane = this.lane(scope);
    const { flushIntervalMs, flushBytes } = connection.config;
    if ((await this.spool.usage(scope)).bytes >= flushBytes) return lane.sender.run();
    this.#runWithin(lane, urgent ? Math.min(URGENT_MS, flushIntervalMs) : flushIntervalMs);
  }

  /** A page is hidden or leaves: what is stored is sent while there is time. */
  hurry(scope: string): void {
    if (this.#wantsUpload(scope)) this.lane(scope).sender.run();
  }

  /** The network is back: waiting after failures ends. */
  online(): void {
    for (const { sender } of this.#lanes.values()) if (sender.lastFailure) sender.wake();
  }

  /** Every page of the scope. */
  tell(scope: string, message: { command: string; [field: string]: unknown }): void {
    for (const connection of this.#connections) if (connection.scope === scope) connection.send(message);
  }

  close(): void {
    for (const lane of this.#lanes.values()) stop(lane);
    this.#notExpire();
    this.spool.close();
  }

  #runWithin(lane: Lane, ms: number): void {
    const at = this.clock.now() + ms;
    if (lane.timer && lane.timer.at <= at) return;
    lane.timer?.cancel();
    const cancel = this.clock.after(ms, () => {
      lane.timer = null;
      lane.sender.run();
    });
    lane.timer = { at, cancel };
  }

  /** Pages that upload by themselves also upload the lines that pages of other meetings left. */
  #wantsUpload(scope: string): boolean {
    const { endpoint } = targetOf(scope);
    for (const { config, scope: own } of this.#connections) {
      if (config.autoUpload && own && targetOf(own).endpoint === endpoint) return true;
    }
    return false;
  }

  #correctsClock(scope: string): boolean {
    return ![...this.#connections].some((one) => one.scope === scope && one.config.correctClock === false);
  }

  async #askToken(
    scope: string,
    target: Target,
    reason: 'start' | 'expired',
  ): Promise<string | null | undefined> {
    const able = [...this.#connections].filter(({ answersTokens, left }) => answersTokens && !left);
    const own = able.filter((connection) => connection.scope === scope);
    const others = able.filter(({ scope: other }) => {
      return other && other !== scope && targetOf(other).endpoint === target.endpoint;
    });
    const { meetingId, attendeeId } = target;
    for (const connection of [...own, ...others]) {
      const asked: Scope = { meetingId, attendeeId };
      const answer = await connection.askToken(asked, reason, TOKEN_ANSWER_MS);
      if (answer !== undefined) return answer;
    }
    // A client of the original protocol gives its token with the configuration or the command.
    return able.length === 0 && this.#connections.size > 0 && ![...this.#connections].some(({ left }) => left)
      ? null
      : undefined;
  }

  /** Drops what is too old now, and looks again each hour. */
  async #expire(): Promise<void> {
    if (this.#expiring) return;
    this.#expiring = true;
    for (const scope of await this.spool.scopes()) {
      const count = await this.spool.expire(scope, this.#maxAgeMs(scope));
      if (count) this.tell(scope, { command: 'LOG_DROPPED', count, why: 'age' });
    }
    await this.spool.forgetTabs(2 * DEFAULTS.maxAgeMs);
    this.#notExpire = this.clock.after(EXPIRE_MS, () => {
      this.#expiring = false;
      void this.#expire();
    });
  }

  #maxAgeMs(scope: string): number {
    for (const { config, scope: own } of this.#connections)
      if (own === scope && config.maxAgeMs) return config.maxAgeMs;
    return DEFAULTS.maxAgeMs;
  }
}

/** Ends a lane's timers. */
function stop(lane: Lane): void {
  lane.sender.stop();
  lane.timer?.cancel();
  lane.timer = null;
}

/** A scope's name in storage: also tells where its files go. */
export const scopeName = ({ endpoint, meetingId, attendeeId }: Target): string =>
  JSON.stringify([endpoint, meetingId, attendeeId]);

function targetOf(scope: string): Target {
  const [endpoint = '', meetingId = '', attendeeId = ''] = JSON.parse(scope) as string[];
  return { endpoint, meetingId, attendeeId };
}
