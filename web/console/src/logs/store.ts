// The records of one question, newest first: pages that follow the cursor, and what the live tail adds.

import { type Client, type Params, type Problem, problemOf } from '../api.ts';
import { MINUTE_MS } from '../time.ts';
import type { LogRecord } from '../types.ts';

export interface Row {
  record: LogRecord;
  ms: number;
  /** Came after newer records were shown. */
  late: boolean;
}

export interface Seen {
  rows: readonly Row[];
  loading: boolean;
  /** Everything that the filters find is there. */
  complete: boolean;
  /** Many pages without a record were read: older records are searched when they are asked for. */
  paused: boolean;
  /** Why the last page of older records failed. */
  problem: Problem | undefined;
  /** Why the last look of the live tail failed. */
  tailProblem: Problem | undefined;
  /** Blocks that the API could not read. */
  skipped: number;
  /** More has arrived than the live tail reads: records between what was loaded and the newest may be missing. */
  missed: boolean;
  /** When the first page was asked for; undefined until it has arrived. */
  loadedAt: number | undefined;
}

const PAGE = 200;
/** Records of one page of the live tail. */
const TAIL_PAGE = 500;
/** Pages of one look at most. What has arrived beyond them is skipped. */
const TAIL_PAGES = 4;
/** How long before the newest record a look by time begins: files of browsers arrive minutes after their records were
 * written. */
const TAIL_OVERLAP_MS = 5 * MINUTE_MS;
/** Rows that are kept while the live tail runs. */
const TAIL_KEPT = 5_000;
/** Pages that are asked for at once without a record in them: a query that finds little has many. */
const EMPTY_PAGES = 50;

export const idOf = (record: LogRecord) => `${record.app_id ?? ''}/${record.id}`;
const rowOf = (record: LogRecord, late = false): Row => ({ record, ms: Date.parse(record.timestamp), late });

export class Store {
  private seen: Seen = {
    rows: [],
    loading: false,
    complete: false,
    paused: false,
    problem: undefined,
    tailProblem: undefined,
    skipped: 0,
    missed: false,
    loadedAt: undefined,
  };
  private readonly ids = new Set<string>();
  private cursor: string | undefined;
  private until: string | undefined;
  /** How often the oldest rows were dropped. A page that was asked for before does not continue the list. */
  private trims = 0;
  /** Where the next look of the tail begins in the order of arrival. */
  private after: string | undefined;
  private readonly aborting = new AbortController();
  private readonly client: Client;
  private readonly params: Params;
  private readonly changed: () => void;
  private readonly live: boolean;

  /** `live`: a tail follows the list. */
  constructor(client: Client, params: Params, changed: () => void, live = false) {
    this.client = client;
    this.params = params;
    this.changed = changed;
    this.live = live;
  }

  get state(): Seen {
    return this.seen;
  }

  close(): void {
    this.aborting.abort();
  }

  /** Loads older records for a list that nears its end. After a failure, and after many pages without a record, only
   * {@link older} goes on. */
  async nearEnd(now: number): Promise<void> {
    if (!this.seen.problem && !this.seen.paused) await this.older(now);
  }

  /** Loads the next page of older records, unless one is on its way. */
  async older(now: number): Promise<void> {
    if (this.seen.loading || this.seen.complete) return;
    this.set({ loading: true, paused: false, problem: undefined });
    try {
      // The tail begins before the list is read, so that no record is between them.
      if (this.live && this.followsArrival) this.after ??= await this.present();
      let found = 0;
      for (let n = 0; n < EMPTY_PAGES && !found && !this.seen.complete; n++) {
        const params: Params = { ...this.params, limit: PAGE, cursor: this.cursor };
        if (this.until !== undefined && this.cursor === undefined) params.until = this.until;
        const { trims } = this;
        const page = await this.client.list<LogRecord>('logs', params, this.aborting.signal);
        // It is below rows that are no longer there.
        if (trims !== this.trims) continue;
        this.cursor = page.cursor ?? undefined;
        this.set({ skipped: this.seen.skipped + (page.skipped ?? 0), complete: page.cursor === null });
        const fresh = this.fresh(page.data).map((record) => rowOf(record));
        if (fresh.length) this.set({ rows: [...this.seen.rows, ...fresh] });
        found = fresh.length;
      }
      const paused = !found && !this.seen.complete;
      this.set({ loading: false, paused, loadedAt: this.seen.loadedAt ?? now });
    } catch (error) {
      this.set({ loading: false, problem: problemOf(error) });
    }
  }

  /** Looks for records that have arrived since the last look. Returns how many there are. */
  async tail(): Promise<number> {
    try {
      const found = this.followsArrival ? await this.lookByArrival() : await this.lookByTime();
      this.set({ tailProblem: undefined });
      return found;
    } catch (error) {
      this.set({ tailProblem: problemOf(error) });
      return 0;
    }
  }

  /** All apps have no common order of arrival. */
  private get followsArrival(): boolean {
    return this.params.app_id !== undefined;
  }

  /** Where what arrives from now on begins. */
  private async present(): Promise<string | undefined> {
    const params: Params = { ...this.params, limit: 1, after: 'now' };
    return (await this.client.list<LogRecord>('logs', params, this.aborting.signal)).cursor ?? undefined;
  }

  /** Of one app: follows the order of arrival, so that no record is missed, however late it comes. If more has arrived
   * than a look reads, it skips to the present: the newest records do not wait for a backlog. */
  private async lookByArrival(): Promise<number> {
    let found = 0;
    let lags = false;
    for (let n = 0; n < TAIL_PAGES && this.after !== undefined; n++) {
      const params: Params = { ...this.params, limit: TAIL_PAGE, after: this.after };
      const page = await this.client.list<LogRecord>('logs', params, this.aborting.signal);
      this.after = page.cursor ?? undefined;
      // Of one millisecond, what arrived last comes first.
      found += this.add([...page.data].reverse());
      if (!page.more) return found;
      lags = true;
      // A page that is not full has reached the limits of a query: the backlog is large.
      if (page.data.length < TAIL_PAGE) break;
    }
    if (lags) this.set({ missed: true });
    const after = await this.present();
    found += await this.lookByTime();
    // Not before: after a failure, the next look continues where this one stopped.
    this.after = after;
    return found;
  }

  /** Asks for the newest records, and some minutes more. */
  private async lookByTime(): Promise<number> {
    const newest = this.seen.rows[0]?.ms;
    const params: Params = { ...this.params, limit: TAIL_PAGE };
    if (newest !== undefined) {
      const since = Math.max(newest - TAIL_OVERLAP_MS, Date.parse(String(params.since ?? 0)) || 0);
      params.since = new Date(since).toISOString();
    }
    const page = await this.client.list<LogRecord>('logs', params, this.aborting.signal);
    const found = this.add(page.data);
    // Every record of the page is new, and there are older ones: some between them and the known ones are not read.
    if (newest !== undefined && page.cursor !== null && found > 0 && found === page.data.length)
      this.set({ missed: true });
    return found;
  }

  /** Inserts the records that are not known yet. Returns how many these are. */
  private add(records: LogRecord[]): number {
    const newest = this.seen.rows[0]?.ms;
    // A record that is older than those that are loaded comes with its page.
    const reach = this.seen.complete ? undefined : this.seen.rows.at(-1)?.ms;
    const near = records.filter(({ timestamp }) => reach === undefined || Date.parse(timestamp) >= reach);
    const fresh = this.fresh(near).map((record) => rowOf(record));
    fresh.sort((a, b) => b.ms - a.ms);
    const marked = fresh.map((row) => ({ ...row, late: newest !== undefined && row.ms < newest }));
    if (fresh.length) this.set({ rows: merged(this.seen.rows, marked) });
    this.trim();
    return fresh.length;
  }

  private trim(): void {
    if (this.seen.rows.length <= TAIL_KEPT) return;
    const rows = this.seen.rows.slice(0, TAIL_KEPT);
    for (const row of this.seen.rows.slice(TAIL_KEPT)) this.ids.delete(idOf(row.record));
    const oldest = rows.at(-1);
    this.trims++;
    // The cursor belongs to the last record that was read: from here on, the time of the last one that is kept.
    this.cursor = undefined;
    if (oldest) this.until = new Date(oldest.ms + 1).toISOString();
    this.set({ rows, complete: false });
  }

  private fresh(records: LogRecord[]): LogRecord[] {
    const fresh = records.filter((record) => !this.ids.has(idOf(record)));
    for (const record of fresh) this.ids.add(idOf(record));
    return fresh;
  }

  private set(change: Partial<Seen>): void {
    if (this.aborting.signal.aborted) return;
    this.seen = { ...this.seen, ...change };
    this.changed();
  }
}

/** Both lists as one, newest first. Of records of the same millisecond, those of the second list come first. */
export function merged(known: readonly Row[], fresh: Row[]): Row[] {
  const all: Row[] = [];
  let k = 0;
  for (const row of fresh) {
    for (let next = known[k]; next && next.ms > row.ms; next = known[++k]) all.push(next);
    all.push(row);
  }
  return k === 0 ? [...all, ...known] : [...all, ...known.slice(k)];
}
