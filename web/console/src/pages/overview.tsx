// Every app at a glance: a week of records by level, its checks, its failed files.

import { useState } from 'preact/hooks';
import { useSession } from '../context.ts';
import { count, short } from '../format.ts';
import { Head } from '../frame.tsx';
import { useLoad, useNow } from '../hooks.ts';
import { placeOf } from '../logs/one.ts';
import { ago, DAY_MS, full } from '../time.ts';
import type { CheckState, Day, LedgerFile, LogRecord } from '../types.ts';
import { Icon } from '../ui/icons.tsx';
import { Empty, Loading, Show, Trouble } from '../ui/parts.tsx';
import { LogText } from '../ui/text.tsx';
import { clipped } from '../ui/tree.tsx';
import { RegisterApp } from './app.tsx';

/** Cards of the administration that are shown at first: each takes three requests. */
const FIRST = 24;
const DAYS = 7;
/** Errors that an app's own overview lists. */
const LATEST = 8;

export function OverviewPage() {
  const { apps, app, client, kind } = useSession();
  const [shown, setShown] = useState(FIRST);
  const [registering, setRegistering] = useState(false);
  const cards = app === undefined ? apps : [app];
  return (
    <div class="page">
      <Head title="Overview" allApps>
        {kind === 'admin' && (
          <button type="button" class="button" onClick={() => setRegistering(true)}>
            <Icon name="plus" size={14} /> Register an app
          </button>
        )}
      </Head>
      {registering && <RegisterApp close={() => setRegistering(false)} />}
      {cards.length === 0 && (
        <Empty
          title="No apps yet"
          command={`curl "${client.base}apps" -H "X-Admin-Key: $ADMIN_KEY" \\\n  -H "Content-Type: application/json" \\\n  -d '{"app_id": "shop", "name": "The shop"}'`}
        >
          Every record belongs to an app. Register one here, or with
        </Empty>
      )}
      <div class={`cards ${cards.length === 1 ? 'single' : ''}`}>
        {cards.slice(0, shown).map((name) => (
          <Card key={name} app={name} />
        ))}
        {cards.length === 1 && cards[0] !== undefined && <Errors key={`errors-${cards[0]}`} app={cards[0]} />}
      </div>
      {cards.length > shown && (
        <button type="button" class="button" onClick={() => setShown(shown + FIRST)}>
          {cards.length - shown} more apps
        </button>
      )}
    </div>
  );
}

function Card({ app }: { app: string }) {
  const { client, link } = useSession();
  const loaded = useLoad(app, async (signal) => {
    const since = new Date(Date.now() - DAYS * DAY_MS).toISOString();
    const failed = { app_id: app, status: 'FAILED', since, limit: 100 };
    const [days, checks, files] = await Promise.all([
      client.get<Day[]>(`stats/${app}`, { days: DAYS }, signal),
      client.get<CheckState[]>(`health/${app}/uptime`, {}, signal),
      client.list<LedgerFile>('files', failed, signal),
    ]);
    return { days, checks, files };
  });
  const { data, problem } = loaded;
  return (
    <article class="card">
      <header>
        <h2>
          <a href={link('logs', { range: '7d' }, app)}>{app}</a>
        </h2>
        {data && <Health checks={data.checks} link={link('health', {}, app)} />}
      </header>
      {problem && <Trouble problem={problem} retry={loaded.reload} />}
      {!data && !problem && <Loading />}
      {data && (
        <>
          <Week days={data.days} app={app} />
          <Totals days={data.days} app={app} />
          <footer>
            {data.files.data.length > 0 ? (
              <a class="bad" href={link('files', { status: 'FAILED' }, app)}>
                <Icon name="alert" size={14} /> {data.files.data.length}
                {data.files.cursor === null ? '' : ' or more'} failed file
                {data.files.data.length === 1 ? '' : 's'} in 7 days
              </a>
            ) : (
              <span class="muted">No failed files in 7 days</span>
            )}
          </footer>
        </>
      )}
    </article>
  );
}

/** The latest errors of an app, each a link to its neighbours. */
function Errors({ app }: { app: string }) {
  const { client, link, utc } = useSession();
  const now = useNow(30_000);
  const loaded = useLoad(app, (signal) => {
    const since = new Date(Date.now() - DAYS * DAY_MS).toISOString();
    return client.list<LogRecord>('logs', { app_id: app, level: 'ERROR', since, limit: LATEST }, signal);
  });
  return (
    <article class="card">
      <header>
        <h2>Latest errors</h2>
        <a href={link('logs', { level: 'ERROR', range: '7d' }, app)}>All of 7 days</a>
      </header>
      <Show loaded={loaded}>
        {({ data }) =>
          data.length ? (
            <ul class="latest">
              {data.map((record) => {
                const ms = Date.parse(record.timestamp);
                return (
                  <li key={record.id}>
                    <a href={link('logs', { record: placeOf(ms, record) }, app)}>
                      <LogText text={clipped(record.message, 160)} />
                    </a>
                    <time class="muted" dateTime={record.timestamp} title={full(ms, utc)}>
                      {ago(ms, now)}
                    </time>
                  </li>
                );
              })}
            </ul>
          ) : (
            <p class="muted">None in 7 days.</p>
          )
        }
      </Show>
    </article>
  );
}

function Health({ checks, link }: { checks: CheckState[]; link: string }) {
  if (!checks.length) return null;
  const down = checks.filter(({ state }) => state === 'down').length;
  const up = checks.filter(({ state }) => state === 'up').length;
  const kind = down ? 'down' : up === checks.length ? 'up' : 'unknown';
  const text = down
    ? `${down} of ${checks.length} down`
    : up === checks.length
      ? `${up} up`
      : `${up} of ${checks.length} up`;
  return (
    <a class={`state state-${kind}`} href={link}>
      {text}
    </a>
  );
}

const ORDER = ['error', 'warn', 'info', 'debug'] as const;
const total = (day: Day) => ORDER.reduce((sum, level) => sum + day[level], 0);

function Week({ days, app }: { days: Day[]; app: string }) {
  const { link } = useSession();
  const most = Math.max(1, ...days.map(total));
  return (
    <div class="week" role="group" aria-label="Records of the last seven days">
      {[...days].reverse().map((day) => {
        const since = `${day.date}T00:00:00.000Z`;
        const until = new Date(Date.parse(since) + DAY_MS).toISOString();
        const said = `${day.date}: ${count(total(day))} records, ${count(day.error)} errors`;
        return (
          <a
            key={day.date}
            href={link('logs', { since, until, tz: 'utc' }, app)}
            title={said}
            aria-label={said}
          >
            <span
              class="bar"
              style={{ height: `${Math.max(total(day) ? 3 : 0, (100 * total(day)) / most)}%` }}
            >
              {[...ORDER]
                .reverse()
                .map(
                  (level) =>
                    day[level] > 0 && (
                      <span key={level} class={`fill-${level}`} style={{ flexGrow: String(day[level]) }} />
                    ),
                )}
            </span>
            <span class="day">{day.date.slice(8)}</span>
          </a>
        );
      })}
    </div>
  );
}

function Totals({ days, app }: { days: Day[]; app: string }) {
  const { link } = useSession();
  const today = days[0];
  const sum = (level: (typeof ORDER)[number]) => days.reduce((all, day) => all + day[level], 0);
  return (
    <table class="totals">
      <caption class="visually-hidden">Records by level</caption>
      <thead>
        <tr>
          <th scope="col">
            <span class="visually-hidden">Period</span>
          </th>
          {ORDER.map((level) => (
            <th key={level} scope="col">
              <a
                class={`level level-${level}`}
                href={link('logs', { level: level.toUpperCase(), range: '7d' }, app)}
              >
                {level.toUpperCase()}
              </a>
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        <tr>
          <th scope="row">Today</th>
          {ORDER.map((level) => (
            <td key={level} title={count(today?.[level] ?? 0)}>
              {short(today?.[level] ?? 0)}
            </td>
          ))}
        </tr>
        <tr>
          <th scope="row">7 days</th>
          {ORDER.map((level) => (
            <td key={level} title={count(sum(level))}>
              {short(sum(level))}
            </td>
          ))}
        </tr>
      </tbody>
    </table>
  );
}
