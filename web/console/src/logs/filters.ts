// What the page of logs asks for: read from the URL's parameters, written to them, and sent to the API.

import type { Params } from '../api.ts';
import { bounds, durationMs, type Range } from '../time.ts';
import { LEVELS, type Level } from '../types.ts';

export interface Filters {
  levels: Level[];
  search: string;
  requestId: string;
  /** Search in the whole entry instead of the message. */
  everywhere: boolean;
  /** Conditions on members of the record, as `[path, condition]` in the API's words. */
  fields: Condition[];
  range: Range;
}

export type Condition = [path: string, condition: string];

/** How records are shown; not sent to the API. */
export interface View {
  wrap: boolean;
  utc: boolean;
  live: boolean;
  highlight: string;
  /** The place of a record that is shown alone, between its neighbours. */
  record: string;
}

export const DEFAULT_RANGE: Range = { last: '24h' };
/** As the API. */
const MAX_CONDITIONS = 32;

/** The operators of a condition, with their words. */
export const OPERATORS = [
  ['=', 'is'],
  ['!=', 'is not'],
  ['~', 'contains'],
  ['!~', 'does not contain'],
  ['>', 'is more than'],
  ['>=', 'is at least'],
  ['<', 'is less than'],
  ['<=', 'is at most'],
  ['*', 'exists'],
  ['!*', 'does not exist'],
] as const;

/** The condition that a member has exactly this value. */
export const exactly = (value: string): string => `=${value}`;

/** A condition as people read it: `context.user is ada`. */
export function said([path, condition]: Condition): string {
  if (condition === '*' || condition === '!*')
    return `${path} ${condition === '*' ? 'exists' : 'does not exist'}`;
  const longest = [...OPERATORS].sort((a, b) => b[0].length - a[0].length);
  const found = longest.find(([operator]) => condition.startsWith(operator));
  if (found) return `${path} ${found[1]} ${condition.slice(found[0].length)}`;
  return condition.startsWith('!') ? `${path} is not ${condition.slice(1)}` : `${path} is ${condition}`;
}

/** A filter of an alert or an erasure, which has the API's names. */
export type NamedFilter = Record<string, string>;

const FILTER_NAMES = ['level', 'search', 'search_in', 'request_id'];

/** These filters, without the range, under the API's names. */
function named(filters: Filters): [name: string, value: string][] {
  const { levels, search, everywhere, requestId } = filters;
  const single = {
    level: levels.join(','),
    search,
    search_in: search && everywhere ? 'all' : '',
    request_id: requestId,
  };
  const fields = filters.fields.map(([path, condition]): [string, string] => [`field.${path}`, condition]);
  return [...Object.entries(single).filter(([, value]) => value !== ''), ...fields];
}

/** The parameters of the pages of alerts and of erasures. */
export const namedParams = (app: string, filters: Filters, { utc }: View): URLSearchParams =>
  new URLSearchParams([['app', app], ...(utc ? [['tz', 'utc']] : []), ...named(filters)]);

/** Reads what {@link namedParams} wrote, unless a member is {@link doubled}. */
export function namedFilter(params: URLSearchParams): NamedFilter {
  const kept = [...params].filter(([name]) => FILTER_NAMES.includes(name) || name.startsWith('field.'));
  return Object.fromEntries(kept);
}

/** A member with two conditions, of which a filter of an alert or an erasure could have only one. */
export function doubled(params: URLSearchParams): string | undefined {
  const names = [...params.keys()];
  return names.find((name, at) => name.startsWith('field.') && names.indexOf(name) !== at)?.slice(6);
}

/** The parameters with which the page of logs shows what a filter finds. */
export function logsParams({ search, search_in, ...rest }: NamedFilter): Record<string, string> {
  return { ...rest, ...(search !== undefined && { q: search }), ...(search_in === 'all' && { in: 'all' }) };
}

/** A filter as people read it. */
export function inWords(filter: NamedFilter): string {
  const parts = Object.entries(filter).map(([name, value]) => {
    if (name === 'level') return value.split(',').join(' or ');
    if (name === 'search') return `“${value}”${filter.search_in === 'all' ? ' anywhere' : ''}`;
    if (name === 'search_in') return '';
    if (name === 'request_id') return `request ${value}`;
    return said([name.replace(/^field\./, ''), value]);
  });
  return parts.filter(Boolean).join(', ') || 'every record';
}

export function filtersOf(params: URLSearchParams): Filters {
  const levels = (params.get('level') ?? '').split(',');
  const fields = [...params.entries()].filter(([name]) => name.startsWith('field.'));
  return {
    levels: LEVELS.filter((level) => levels.includes(level)),
    search: params.get('q') ?? '',
    requestId: params.get('request_id') ?? '',
    everywhere: params.get('in') === 'all',
    fields: fields.slice(0, MAX_CONDITIONS).map(([name, value]) => [name.slice('field.'.length), value]),
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
  set('in', filters.everywhere && 'all');
  for (const [path, condition] of filters.fields) params.append(`field.${path}`, condition);
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
  return {
    app_id: app,
    ...(since !== undefined && { since: new Date(since).toISOString() }),
    ...(until !== undefined && { until: new Date(until).toISOString() }),
    filters: named(filters),
  };
}

/** Whether anything but the range narrows what is shown. */
export function isNarrowed(filters: Filters): boolean {
  return Boolean(filters.levels.length || filters.search || filters.requestId || filters.fields.length);
}
