// Checks of an app: state, uptime, the last results, response times.

import { useReducer, useState } from 'preact/hooks';
import { useSession } from '../context.ts';
import { percent } from '../format.ts';
import { Head } from '../frame.tsx';
import { useLoad, useNow } from '../hooks.ts';
import { ago, full, seconds } from '../time.ts';
import type { CheckResult, CheckState, Series } from '../types.ts';
import { Copy, Empty, IconButton, Loading, Show, Trouble } from '../ui/parts.tsx';

/** Results that are shown as bars. */
const BARS = 60;

export function HealthPage() {
  const { client, app } = useSession();
  const [round, again] = useReducer((n: number) => n + 1, 0);
  const loaded = useLoad(
    app ?? '',
    async (signal) => (app === undefined ? [] : client.get<CheckState[]>(`health/${app}/uptime`, {}, signal)),
    round,
  );
  return (
    <div class="page">
      <Head title="Health">
        {app !== undefined && <StatusPage app={app} />}
        <IconButton icon="refresh" label="Reload" onClick={() => again(undefined as never)} />
      </Head>
      {app === undefined ? (
        <Empty title="Choose an app">Checks belong to an app: choose one above.</Empty>
      ) : (
        <Show loaded={loaded}>
          {(checks) =>
            checks.length ? (
              <div class="checks">
                {checks.map((check) => (
                  <Check key={check.name ?? check.url} app={app} check={check} round={round} />
                ))}
              </div>
            ) : (
              <Empty
                title="No checks yet"
                command={`curl "${client.base}apps/${app}/health-urls" -H "X-API-Key: $KEY" \\\n  -H "Content-Type: application/json" \\\n  -d '{"urls": ["https://shop.example.com/"]}'`}
              >
                Logferry asks the URLs of an app every few minutes, and notifies when one goes down. Set them
                with
              </Empty>
            )
          }
        </Show>
      )}
    </div>
  );
}

/** A link to the public status page, if the app has one. */
function StatusPage({ app }: { app: string }) {
  const { client } = useSession();
  const url = new URL(`../status/${app}`, client.base).href;
  const there = useLoad(url, (signal) => client.exists(`../status/${app}`, signal));
  if (!there.data) return null;
  return (
    <a class="button" href={url} target="_blank" rel="noopener noreferrer">
      Public status page
    </a>
  );
}

function Check({ app, check, round }: { app: string; check: CheckState; round: number }) {
  const { client, utc } = useSession();
  const now = useNow(30_000);
  const name = check.name ?? check.url;
  const results = useLoad(
    `${app}/${name}`,
    (signal) => client.list<CheckResult>(`health/${app}`, { url: name, limit: BARS }, signal),
    round,
  );
  const series = useLoad(
    `${app}/${name}/series`,
    (signal) => client.get<Series>(`health/${app}/response-times`, { url: name, window: '24h' }, signal),
    round,
  );
  const last = results.data?.data[0];
  const badge = new URL(`../health/${app}/badges/health.svg?url=${encodeURIComponent(name)}`, client.base)
    .href;
  return (
    <article class="card check-card">
      <header>
        <h2>
          <bdi>{name}</bdi>
        </h2>
        <span class={`state state-${check.state}`}>{check.state}</span>
      </header>
      {check.name && check.url !== check.name && <p class="muted url">{check.url}</p>}
      <p class="muted">
        {check.since
          ? `${check.state} since ${ago(Date.parse(check.since), now)}`
          : 'not checked often enough yet'}
        {last && ` · last checked ${ago(Date.parse(last.checked_at), now)}`}
      </p>
      <dl class="uptimes">
        {check.uptime.map((one) => (
          <div key={one.window}>
            <dt>{one.window}</dt>
            <dd>{percent(one.uptime)}</dd>
          </div>
        ))}
      </dl>
      {results.problem && <Trouble problem={results.problem} retry={results.reload} />}
      {results.data ? <Bars results={results.data.data} utc={utc} /> : !results.problem && <Loading />}
      {last?.error && (
        <p class="last-error">
          <strong>Last result</strong> {last.error}
        </p>
      )}
      {series.problem && <Trouble problem={series.problem} retry={series.reload} />}
      {series.data && <Times series={series.data} utc={utc} />}
      <div class="detail-actions">
        <Copy label="Copy badge markdown" text={() => `![${name.replaceAll(']', '')}](${badge})`} />
      </div>
    </article>
  );
}

function Bars({ results, utc }: { results: CheckResult[]; utc: boolean }) {
  const failed = results.filter((one) => !one.ok && !one.skipped).length;
  return (
    <div
      class="bars"
      role="img"
      aria-label={`The last ${results.length} results: ${failed} failed, newest on the right`}
    >
      {Array.from({ length: Math.max(0, BARS - results.length) }, (_, n) => (
        <span key={`none-${n}`} class="none" />
      ))}
      {[...results].reverse().map((one) => {
        const at = full(Date.parse(one.checked_at), utc);
        const said = one.skipped
          ? 'not checked'
          : one.ok
            ? `ok, ${seconds(one.latency_ms)}`
            : (one.error ?? `status ${one.status}`);
        return (
          <span
            key={one.checked_at}
            class={one.skipped ? 'none' : one.ok ? 'ok' : 'failed'}
            title={`${at}: ${said}`}
          />
        );
      })}
    </div>
  );
}

const WIDTH = 300;
const HEIGHT = 48;

/** The response times of a day, as a line; the hours without a check are gaps. */
function Times({ series, utc }: { series: Series; utc: boolean }) {
  const [over, setOver] = useState<number>();
  const known = series.buckets.filter((one) => one.average_ms !== null);
  if (known.length < 2) return null;
  const most = Math.max(...known.map((one) => one.average_ms ?? 0), 1);
  const step = WIDTH / Math.max(1, series.buckets.length - 1);
  const y = (ms: number) => HEIGHT - 4 - ((HEIGHT - 8) * ms) / most;
  let path = '';
  let drawing = false;
  series.buckets.forEach((one, n) => {
    if (one.average_ms === null) drawing = false;
    else {
      path += `${drawing ? 'L' : 'M'}${(n * step).toFixed(1)} ${y(one.average_ms).toFixed(1)}`;
      drawing = true;
    }
  });
  const shown = over === undefined ? undefined : series.buckets[over];
  return (
    <figure class="times">
      <svg
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        preserveAspectRatio="none"
        role="img"
        aria-label={`Response times of 24 hours, at most ${seconds(most)} on average`}
        onPointerMove={(event) => {
          const box = event.currentTarget.getBoundingClientRect();
          setOver(Math.round(((event.clientX - box.left) / box.width) * (series.buckets.length - 1)));
        }}
        onPointerLeave={() => setOver(undefined)}
      >
        <path d={path} />
      </svg>
      <figcaption class="muted">
        {shown
          ? `${full(Date.parse(shown.start), utc).slice(5, 16)}: ${shown.average_ms === null ? 'not checked' : seconds(shown.average_ms)}`
          : `Response times of 24 hours, up to ${seconds(most)}`}
      </figcaption>
    </figure>
  );
}
