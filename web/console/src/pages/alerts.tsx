// Alerts on an app's records: their state, their history, and new ones.

import { useState } from 'preact/hooks';
import { type Problem, problemOf } from '../api.ts';
import { useSession } from '../context.ts';
import { count } from '../format.ts';
import { Head } from '../frame.tsx';
import { useLoad, useNow } from '../hooks.ts';
import { doubled, inWords, logsParams, namedFilter } from '../logs/filters.ts';
import { navigate, useRoute } from '../route.ts';
import { ago, full } from '../time.ts';
import { type Alert, LEVELS } from '../types.ts';
import { Icon } from '../ui/icons.tsx';
import { Confirm, Dialog, Empty, FormEnd, IconButton, LevelTag, Show } from '../ui/parts.tsx';
import { LogText } from '../ui/text.tsx';
import { clipped } from '../ui/tree.tsx';

export function AlertsPage() {
  const { client, app, link, manages } = useSession();
  const { params } = useRoute();
  const loaded = useLoad(app ?? '', async (signal) =>
    app === undefined ? [] : client.get<Alert[]>(`apps/${app}/alerts`, {}, signal),
  );
  const making = params.get('new') === '1';
  const twice = doubled(params);
  const show = (form: boolean) => {
    const next = new URLSearchParams();
    for (const [name, value] of params) if (name === 'app' || name === 'tz') next.set(name, value);
    if (form) next.set('new', '1');
    navigate('alerts', next);
  };
  return (
    <div class="page">
      <Head title="Alerts">
        {app !== undefined && manages && (
          <button type="button" class="button" onClick={() => show(true)}>
            <Icon name="plus" size={14} /> New alert
          </button>
        )}
        <IconButton icon="refresh" label="Reload" onClick={loaded.reload} />
      </Head>
      {app !== undefined && making && twice !== undefined && (
        <Empty title="Two conditions on one member">
          An alert takes one condition on {twice}. <a href={link('logs')}>Choose others</a>
        </Empty>
      )}
      {app !== undefined && making && twice === undefined && (
        <NewAlert
          app={app}
          filter={namedFilter(params)}
          close={() => show(false)}
          made={() => {
            show(false);
            loaded.reload();
          }}
        />
      )}
      {app === undefined ? (
        <Empty title="Choose an app">Alerts belong to an app: choose one above.</Empty>
      ) : (
        <Show loaded={loaded}>
          {(alerts) =>
            alerts.length ? (
              <div class="checks">
                {alerts.map((alert) => (
                  <AlertCard key={alert.name} app={app} alert={alert} changed={loaded.reload} />
                ))}
              </div>
            ) : (
              <Empty
                title="No alerts yet"
                command={`curl "${client.base}apps/${app}/alerts" -H "X-API-Key: $KEY" \\\n  -H "Content-Type: application/json" \\\n  -d '{"name": "errors", "filter": {"level": "ERROR"}, "threshold": 10, "window_minutes": 5, "notify": {"sns": true}}'`}
              >
                An alert notifies when many records match a filter within minutes. Make one here, or with
              </Empty>
            )
          }
        </Show>
      )}
    </div>
  );
}

function AlertCard({ app, alert, changed }: { app: string; alert: Alert; changed: () => void }) {
  const { client, manages, link, utc } = useSession();
  const [deleting, setDeleting] = useState(false);
  const now = useNow(30_000);
  const found = logsParams(alert.filter);
  return (
    <article class="card">
      <header>
        <h2>{alert.name}</h2>
        <span class={`state state-${alert.state === 'firing' ? 'down' : 'up'}`}>{alert.state}</span>
      </header>
      <p>
        {count(alert.threshold)} or more of{' '}
        <a href={link('logs', found)}>{clipped(inWords(alert.filter), 200)}</a> in {alert.window_minutes} min
      </p>
      <p class="muted">
        {alert.since ? `${alert.state} since ${ago(Date.parse(alert.since), now)} · ` : ''}
        notifies {alert.notify.webhook ?? 'the topic of the deployment'}
      </p>
      {alert.history.length > 0 && (
        <ol class="history">
          {alert.history.map((event) => (
            <li key={event.id}>
              <span class={`state state-${event.to === 'firing' ? 'down' : 'up'}`}>{event.to}</span>
              <time dateTime={event.at} title={full(Date.parse(event.at), utc)}>
                {ago(Date.parse(event.at), now)}
              </time>
              {event.window && (
                <a href={link('logs', { ...found, since: event.window.since, until: event.window.until })}>
                  {count(event.window.count)} records
                </a>
              )}
              <span class={event.error ? 'bad' : 'muted'} title={event.error}>
                notification {event.notification}
              </span>
              {event.samples.slice(0, 1).map((sample) => (
                <span key={sample.id} class="sample">
                  <LevelTag level={sample.level} /> <LogText text={clipped(sample.message, 160)} />
                </span>
              ))}
            </li>
          ))}
        </ol>
      )}
      {manages && (
        <div class="detail-actions">
          <button type="button" class="button small" onClick={() => setDeleting(true)}>
            Delete
          </button>
        </div>
      )}
      {deleting && (
        <Confirm
          title="Delete this alert?"
          action="Delete"
          danger
          close={() => setDeleting(false)}
          run={async () => {
            await client.send('DELETE', `apps/${app}/alerts/${alert.name}`);
            changed();
          }}
        >
          <p>
            Its history is deleted too, and notifications of <strong>{alert.name}</strong> that were not sent
            yet are dropped.
          </p>
        </Confirm>
      )}
    </article>
  );
}

function NewAlert(props: {
  app: string;
  filter: Record<string, string>;
  close: () => void;
  made: () => void;
}) {
  const { client } = useSession();
  const { level = 'ERROR', search = '', search_in, ...rest } = props.filter;
  const [problem, setProblem] = useState<Problem>();
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const text = (name: string) => String(form.get(name) ?? '').trim();
    const levels = form.getAll('level').join(',');
    const filter: Record<string, string> = { ...rest };
    if (levels) filter.level = levels;
    if (text('search')) {
      filter.search = text('search');
      if (search_in) filter.search_in = search_in;
    }
    const webhook = text('webhook');
    try {
      await client.send('POST', `apps/${props.app}/alerts`, {
        name: text('name'),
        filter,
        threshold: Number(text('threshold')),
        window_minutes: Number(text('window')),
        notify: webhook ? { webhook } : { sns: true },
      });
      props.made();
    } catch (error) {
      setProblem(problemOf(error));
    }
  };
  return (
    <Dialog title="New alert" close={props.close}>
      <form onSubmit={submit}>
        <label class="field">
          <span>Name: lower-case letters, digits and hyphens</span>
          <input
            name="name"
            required
            pattern="[a-z0-9][a-z0-9\-]{0,62}"
            autocomplete="off"
            placeholder="errors"
          />
        </label>
        <fieldset class="levels">
          <legend class="small muted">Levels (none: all)</legend>
          {[...LEVELS].reverse().map((one) => (
            <label key={one} class="check">
              <input
                type="checkbox"
                name="level"
                value={one}
                defaultChecked={level.split(',').includes(one)}
              />
              <span>{one}</span>
            </label>
          ))}
        </fieldset>
        <label class="field">
          <span>Text {search_in === 'all' ? 'anywhere in the entry' : 'in the message'} (empty: any)</span>
          <input name="search" defaultValue={search} autocomplete="off" spellcheck={false} />
        </label>
        {Object.keys(rest).length > 0 && <p class="muted">And: {inWords(rest)}</p>}
        <div class="pair">
          <label class="field">
            <span>Records</span>
            <input name="threshold" type="number" min={1} max={1_000_000} required defaultValue="10" />
          </label>
          <label class="field">
            <span>within minutes</span>
            <input name="window" type="number" min={1} max={1_440} required defaultValue="5" />
          </label>
        </div>
        <label class="field">
          <span>Webhook (empty: the topic of the deployment)</span>
          <input name="webhook" type="url" placeholder="https://hooks.example.com/shop" autocomplete="off" />
        </label>
        <FormEnd action="Create" problem={problem} close={props.close} />
      </form>
    </Dialog>
  );
}
