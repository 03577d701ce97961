// Settings of an app: name, retention, what is forwarded, keys, usage, and deletion of records.

import { useState } from 'preact/hooks';
import { type Problem, problemOf } from '../api.ts';
import { useSession } from '../context.ts';
import { bytes, count } from '../format.ts';
import { Head } from '../frame.tsx';
import { useLoad } from '../hooks.ts';
import { navigate } from '../route.ts';
import { fromInput, full } from '../time.ts';
import { type App, type Key, LEVELS, type Usage } from '../types.ts';
import { Icon } from '../ui/icons.tsx';
import { Confirm, Copy, Dialog, Empty, FormEnd, Show, TimeField, Trouble } from '../ui/parts.tsx';

/** A view token of this page: a day (s). */
const VIEW_SECS = 86_400;

export function AppPage() {
  const { client, app } = useSession();
  const loaded = useLoad(app ?? '', (signal) =>
    app === undefined ? Promise.resolve(undefined) : client.get<App>(`apps/${app}`, {}, signal),
  );
  return (
    <div class="page">
      <Head title="App" />
      {app === undefined ? (
        <Empty title="Choose an app">Its settings, keys and usage are shown here.</Empty>
      ) : (
        <Show loaded={loaded}>
          {(found) =>
            found && (
              <div class="settings" key={found.app_id}>
                <Settings app={found} saved={loaded.reload} />
                <UsageCard app={found.app_id} />
                <Keys app={found} changed={loaded.reload} />
                <Danger app={found} changed={loaded.reload} />
              </div>
            )
          }
        </Show>
      )}
    </div>
  );
}

function Settings({ app, saved }: { app: App; saved: () => void }) {
  const { client, manages, utc } = useSession();
  const [name, setName] = useState(app.name);
  const [days, setDays] = useState(app.retention_days === null ? '' : String(app.retention_days));
  const forwarded = app.flush.enabled === false ? 'none' : (app.flush.min_level ?? 'DEBUG');
  const [flush, setFlush] = useState(forwarded);
  const [problem, setProblem] = useState<Problem>();
  const save = async (event: Event) => {
    event.preventDefault();
    try {
      const setting = flush === 'none' ? { enabled: false } : { enabled: true, min_level: flush };
      const body = { name, retention_days: days ? Number(days) : null, flush: setting };
      await client.send('PATCH', `apps/${app.app_id}`, body);
      setProblem(undefined);
      saved();
    } catch (error) {
      setProblem(problemOf(error));
    }
  };
  const changed =
    name !== app.name || flush !== forwarded || (days ? Number(days) : null) !== app.retention_days;
  return (
    <section class="card">
      <h2>Settings</h2>
      <form onSubmit={save}>
        <fieldset disabled={!manages} class="plain">
          <label class="field">
            <span>Name</span>
            <input
              value={name}
              maxLength={200}
              required
              onInput={(event) => setName(event.currentTarget.value)}
            />
          </label>
          <label class="field">
            <span>Days that records are kept (empty: the deployment's default)</span>
            <input
              type="number"
              min={1}
              max={3653}
              value={days}
              onInput={(event) => setDays(event.currentTarget.value)}
            />
          </label>
          <label class="field">
            <span>Forwarded to CloudWatch Logs</span>
            <select value={flush} onChange={(event) => setFlush(event.currentTarget.value as typeof flush)}>
              <option value="none">nothing</option>
              {[...LEVELS].reverse().map((level) => (
                <option key={level} value={level}>
                  {level === 'DEBUG' ? 'everything' : `${level} and above`}
                </option>
              ))}
            </select>
          </label>
          {problem && <Trouble problem={problem} />}
          {manages && (
            <button type="submit" class="button primary" disabled={!changed}>
              Save
            </button>
          )}
        </fieldset>
      </form>
      <p class="muted">
        <code>{app.app_id}</code>, registered {full(Date.parse(app.created_at), utc).slice(0, 16)}
        {app.pruned_before &&
          `, records before ${full(Date.parse(app.pruned_before), utc).slice(0, 16)} are deleted`}
      </p>
    </section>
  );
}

function UsageCard({ app }: { app: string }) {
  const { client } = useSession();
  const loaded = useLoad(app, (signal) => client.get<Usage>(`apps/${app}/usage`, {}, signal));
  return (
    <section class="card">
      <h2>Usage</h2>
      <Show loaded={loaded}>
        {({ today, month }) => (
          <table class="totals">
            <thead>
              <tr>
                <td />
                <th scope="col">Records</th>
                <th scope="col">Files</th>
                <th scope="col">Bytes</th>
              </tr>
            </thead>
            <tbody>
              {(
                [
                  ['Today', today],
                  [`Since ${month.from}`, month],
                ] as const
              ).map(([label, used]) => (
                <tr key={label}>
                  <th scope="row">{label}</th>
                  <td>{count(used.records)}</td>
                  <td>{count(used.files)}</td>
                  <td>{bytes(used.bytes)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        )}
      </Show>
    </section>
  );
}

function Keys({ app, changed }: { app: App; changed: () => void }) {
  const { client, manages, utc } = useSession();
  const [minting, setMinting] = useState(false);
  const [revoking, setRevoking] = useState<Key>();
  const [token, setToken] = useState<string>();
  const [problem, setProblem] = useState<Problem>();
  const view = async () => {
    try {
      const body = { ttl_secs: VIEW_SECS };
      const made = await client.send<{ token: string }>('POST', `apps/${app.app_id}/view-tokens`, body);
      setToken(made.token);
      setProblem(undefined);
    } catch (error) {
      setProblem(problemOf(error));
    }
  };
  return (
    <section class="card wide-card">
      <header>
        <h2>Keys</h2>
        {manages && (
          <span class="detail-actions">
            <button type="button" class="button small" onClick={() => void view()}>
              View token for a day
            </button>
            <button type="button" class="button small" onClick={() => setMinting(true)}>
              <Icon name="plus" size={14} /> New key
            </button>
          </span>
        )}
      </header>
      <div class="scroll-x" tabIndex={0} role="group" aria-label="Keys of the app">
        <table class="rows-table">
          <thead>
            <tr>
              <th scope="col">Name</th>
              <th scope="col">Id</th>
              <th scope="col">Scopes</th>
              <th scope="col">Created</th>
              <th scope="col">
                <span class="visually-hidden">Actions</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {app.keys.map((key) => (
              <tr key={key.key_id}>
                <td>{key.name ?? <span class="muted">without a name</span>}</td>
                <td>
                  <code>{key.key_id}</code>
                </td>
                <td>{key.scopes.join(', ')}</td>
                <td>{key.created_at ? full(Date.parse(key.created_at), utc).slice(0, 16) : ''}</td>
                <td>
                  {manages && (
                    <button type="button" class="button small" onClick={() => setRevoking(key)}>
                      Revoke
                    </button>
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {problem && <Trouble problem={problem} />}
      {token !== undefined && (
        <ShownOnce
          title="A view token"
          note="With it, one reads this app, and changes nothing. It expires in a day, and is shown this once."
          secret={token}
          close={() => setToken(undefined)}
        />
      )}
      {minting && <Mint path={`apps/${app.app_id}/keys`} close={() => setMinting(false)} minted={changed} />}
      {revoking && (
        <Confirm
          title="Revoke this key?"
          action="Revoke"
          danger
          close={() => setRevoking(undefined)}
          run={async () => {
            await client.send('DELETE', `apps/${app.app_id}/keys/${revoking.key_id}`);
            changed();
          }}
        >
          <p>
            Requests with <strong>{revoking.name ?? revoking.key_id}</strong> are refused from now on.
          </p>
        </Confirm>
      )}
    </section>
  );
}

function Mint({ path, close, minted }: { path: string; close: () => void; minted: () => void }) {
  const { client } = useSession();
  const [made, setMade] = useState<string>();
  const [problem, setProblem] = useState<Problem>();
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const name = form.get('name')?.toString().trim();
    try {
      const body = { ...(name && { name }), scopes: form.getAll('scope') };
      const key = await client.send<{ api_key: string }>('POST', path, body);
      setMade(key.api_key);
      minted();
    } catch (error) {
      setProblem(problemOf(error));
    }
  };
  if (made !== undefined) return <ShownOnce secret={made} close={close} />;
  return (
    <Dialog title="New key" close={close}>
      <form onSubmit={submit}>
        <label class="field">
          <span>Name</span>
          <input name="name" maxLength={200} placeholder="the shipper" autocomplete="off" />
        </label>
        <fieldset class="scopes">
          <legend>Scopes</legend>
          {[
            ['write', 'write records and files', true],
            ['read', 'read everything', true],
            ['manage', 'keys, settings, deletion', false],
          ].map(([scope, does, on]) => (
            <label key={String(scope)} class="check">
              <input type="checkbox" name="scope" value={String(scope)} defaultChecked={Boolean(on)} />
              <span>
                <strong>{scope}</strong>: {does}
              </span>
            </label>
          ))}
        </fieldset>
        <FormEnd action="Create" problem={problem} close={close} />
      </form>
    </Dialog>
  );
}

function ShownOnce(props: { title?: string; note?: string; secret: string; close: () => void }) {
  const { secret, close } = props;
  return (
    <Dialog title={props.title ?? 'The key is shown this once'} close={close}>
      <div class="command">
        <pre tabIndex={0}>{secret}</pre>
        <Copy label="Copy" text={() => secret} />
      </div>
      <p class="muted">
        {props.note ?? 'Only a hash of it is stored. A key that is lost is replaced by another.'}
      </p>
      <footer>
        <button type="button" class="button primary" onClick={close}>
          Done
        </button>
      </footer>
    </Dialog>
  );
}

export function RegisterApp({ close }: { close: () => void }) {
  const { client, reloadApps } = useSession();
  const [made, setMade] = useState<string>();
  const [problem, setProblem] = useState<Problem>();
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const app_id = String(form.get('app_id'));
    try {
      const body = { app_id, name: String(form.get('name') || app_id) };
      const app = await client.send<{ api_key: string }>('POST', 'apps', body);
      setMade(app.api_key);
    } catch (error) {
      setProblem(problemOf(error));
    }
  };
  if (made !== undefined) {
    const done = () => {
      close();
      void reloadApps();
    };
    return <ShownOnce secret={made} close={done} />;
  }
  return (
    <Dialog title="Register an app" close={close}>
      <form onSubmit={submit}>
        <label class="field">
          <span>Id: lower-case letters, digits and hyphens; it cannot be changed</span>
          <input
            name="app_id"
            required
            pattern="[a-z0-9][a-z0-9\-]{0,62}"
            autocomplete="off"
            spellcheck={false}
          />
        </label>
        <label class="field">
          <span>Name</span>
          <input name="name" maxLength={200} autocomplete="off" />
        </label>
        <FormEnd action="Register" problem={problem} close={close} />
      </form>
    </Dialog>
  );
}

function Danger({ app, changed }: { app: App; changed: () => void }) {
  const { client, link, manages, reloadApps, utc } = useSession();
  const [asking, setAsking] = useState<'prune' | 'delete'>();
  const [before, setBefore] = useState('');
  if (!manages) return null;
  const at = fromInput(before, utc);
  return (
    <section class="card wide-card danger-card">
      <h2>Deletion</h2>
      <div class="danger-row">
        <TimeField label="Delete all records before" value={before} change={setBefore} />
        <button
          type="button"
          class="button danger"
          disabled={at === undefined}
          onClick={() => setAsking('prune')}
        >
          Delete records …
        </button>
        <button type="button" class="button danger" onClick={() => setAsking('delete')}>
          Delete the app …
        </button>
      </div>
      <p>
        <a href={link('erase', {}, app.app_id)}>Erase the records of a person …</a>
      </p>
      {asking === 'prune' && at !== undefined && (
        <Confirm
          title="Delete records?"
          action="Delete"
          danger
          typed={app.app_id}
          close={() => setAsking(undefined)}
          run={async () => {
            await client.send('POST', `apps/${app.app_id}/prune`, { before: new Date(at).toISOString() });
            changed();
          }}
        >
          <p>
            All records of <strong>{app.app_id}</strong> before {full(at, utc)} are gone at once, and cannot
            be brought back.
          </p>
        </Confirm>
      )}
      {asking === 'delete' && (
        <Confirm
          title="Delete the app?"
          action="Delete"
          danger
          typed={app.app_id}
          close={() => setAsking(undefined)}
          run={async () => {
            await client.send('DELETE', `apps/${app.app_id}`);
            navigate('overview', utc ? { tz: 'utc' } : {});
            await reloadApps();
          }}
        >
          <p>
            The app <strong>{app.app_id}</strong>, its keys and all its records are gone at once, and cannot
            be brought back.
          </p>
        </Confirm>
      )}
    </section>
  );
}
