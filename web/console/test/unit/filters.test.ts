import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  doubled,
  type Filters,
  filtersOf,
  namedParams,
  paramsOf,
  query,
  said,
  viewOf,
} from '../../src/logs/filters.ts';
import { parse } from '../../src/route.ts';

const EVERYTHING =
  'app=shop&level=WARN%2CERROR&q=a%26b&request_id=r-1&in=all&field.context.order.id=%3E7&field.context.order.id=%3C9&field.a%3Db=%3Dx&range=7d&wrap=1&tz=utc&live=1';

const back = (text: string) => {
  const params = new URLSearchParams(text);
  return paramsOf(params.get('app') ?? undefined, filtersOf(params), viewOf(params)).toString();
};

test('filters and view survive the way to the URL and back', () => {
  for (const text of [
    EVERYTHING,
    '',
    'range=all',
    'since=2026-01-01T00%3A00%3A00.000Z&until=2026-01-02T00%3A00%3A00.000Z',
    'until=2026-01-02T00%3A00%3A00.000Z',
    'record=1700000000000%7E0123',
  ]) {
    assert.equal(back(text), text);
  }
});

test('what no filter understands is left out, and the default range is not written', () => {
  assert.equal(back('level=LOUD,ERROR&range=9y&since=yesterday&other=1'), 'level=ERROR');
  assert.equal(back('range=24h'), '');
});

test('the API is asked with the range as it is now', () => {
  const filters: Filters = filtersOf(new URLSearchParams(EVERYTHING));
  const params = query('shop', filters, Date.parse('2026-01-08T00:00:00Z'));
  assert.deepEqual(params, {
    app_id: 'shop',
    since: '2026-01-01T00:00:00.000Z',
    filters: [
      ['level', 'WARN,ERROR'],
      ['search', 'a&b'],
      ['search_in', 'all'],
      ['request_id', 'r-1'],
      ['field.context.order.id', '>7'],
      ['field.context.order.id', '<9'],
      ['field.a=b', '=x'],
    ],
  });
});

test('a fragment names a page and its parameters; an unknown page is the overview', () => {
  const route = parse('#/logs?q=a%20b');
  assert.deepEqual([route.page, route.params.get('q')], ['logs', 'a b']);
  for (const hash of ['', '#', '#/', '#/nothing', '#logs/x']) assert.equal(parse(hash).page, 'overview');
});

test('filters become those of an alert, in the same zone, and two conditions on a member are noticed', () => {
  const params = (text: string) => {
    const all = new URLSearchParams(text);
    return namedParams('shop', filtersOf(all), viewOf(all));
  };
  assert.equal(params('q=x&in=all&tz=utc').toString(), 'app=shop&tz=utc&search=x&search_in=all');
  assert.equal(doubled(params('field.ms=%3E1&field.ms=%3C5')), 'ms');
  assert.equal(doubled(params('field.ms=%3E1&field.s=%3C5&level=ERROR')), undefined);
});

test('conditions are said in words', () => {
  for (const [condition, words] of [
    ['=ada', 'user is ada'],
    ['ada', 'user is ada'],
    ['==', 'user is ='],
    ['!ada', 'user is not ada'],
    ['!=ada', 'user is not ada'],
    ['>=5', 'user is at least 5'],
    ['!~x', 'user does not contain x'],
    ['*', 'user exists'],
    ['!*', 'user does not exist'],
  ] as const) {
    assert.equal(said(['user', condition]), words);
  }
});
