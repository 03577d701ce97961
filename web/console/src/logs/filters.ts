// What the page of logs asks for: read from the URL's parameters, written to them, and sent to the API.

import type { Params } from '../api.ts';
import { bounds, durationMs, type Range } from '../time.ts';
import { LEVELS, type Level } from '../types.ts';

export interface Filters {
  levels: Level[];
  search: string;
  requestId: string;
  /** Members of the context, as `[path, value]`. */
  context: [string, string][];
  range: Range;
}

/** How records are shown; not sent to the API. */
export interface View {
  wrap: boolean;
  utc: boolean;
  live: boolean;
  highlight: string;
  /** `{ms}~{id}` of a record that is shown alone, between its neighbours. */
  record: string;
}

export const DEFAULT_RANGE: Range = { last: '24h' };
/** As the API. */
const MAX_CONTEXT = 32;

export function filtersOf(params: URLSearchParams): Filters {
  const levels = (params.get('level') ?? '').split(',');
  const context = [...params.entries()].filter(([name]) => name.startsWith('context.'));
  return {
    levels: LEVELS.filter((level) => levels.includes(level)),
    search: params.get('q') ?? '',
    requestId: params.get('request_id') ?? '',
    context: context.slice(0, MAX_CONTEXT).map(([name, value]) => [name.slice('context.'.length), value]),
    range: rangeOf(params),
  };
}

function rangeOf(params: URLSearchParams): Range {
  const last = params.get('range');
  if (last === 'all') return {};
  if (last && durationMs(last)) return { last };
  const time = (name: string) => {
    const text = params.get(name);
    const ms = text === null ? Number.NaN : Date.parse(text);
    return Number.isNaN(ms) ? undefined : ms;
  };
  const [since, until] = [time('since'), time('until')];
  if (since === undefined && until === undefined) return DEFAULT_RANGE;
  return { ...(since !== undefined && { since }), ...(until !== undefined && { until }) };
}

export function viewOf(params: URLSearchParams): View {
  return {
    wrap: params.get('wrap') === '1',
    utc: params.get('tz') === 'utc',
    live: params.get('live') === '1',
    highlight: params.get('highlight') ?? '',
    record: params.get('record') ?? '',
  };
}

export function paramsOf(app: string | undefined, filters: Filters, view: View): URLSearchParams {
  const params = new URLSearchParams();
  const set = (name: string, value: string | undefined | false) => {
    if (value) params.append(name, value);
  };
  set('app', app);
  set('level', filters.levels.join(','));
  set('q', filters.search);
  set('request_id', filters.requestId);
  for (const [path, value] of filters.context) params.append(`context.${path}`, value);
  const { last, since, until } = filters.range;
  if (last !== undefined) set('range', last !== DEFAULT_RANGE.last && last);
  else if (since === undefined && until === undefined) set('range', 'all');
  else {
    set('since', since !== undefined && new Date(since).toISOString());
    set('until', until !== undefined && new Date(until).toISOString());
  }
  set('wrap', view.wrap && '1');
  set('tz', view.utc && 'utc');
  set('live', view.live && '1');
  set('highlight', view.highlight);
  set('record', view.record);
  return params;
}

/** The parameters of `GET /logs`, with the range as it is now. */
export function query(app: string | undefined, filters: Filters, now: number): Params {
  const { since, until } = bounds(filters.range, now);
  const params: Params = { app_id: app, level: filters.levels.join(','), search: filters.search };
  params.request_id = filters.requestId;
  if (since !== undefined) params.since = new Date(since).toISOString();
  if (until !== undefined) params.until = new Date(until).toISOString();
  // After an equals sign, a value that begins with an operator is a text.
  for (const [path, value] of filters.context) params[`context.${path}`] = `=${value}`;
  return params;
}

export function sameFilters(a: Filters, b: Filters): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** Whether anything but the range narrows what is shown. */
export function isNarrowed(filters: Filters): boolean {
  return Boolean(filters.levels.length || filters.search || filters.requestId || filters.context.length);
}
