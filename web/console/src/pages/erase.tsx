// Erasing the records that a filter finds: what would be erased, the confirmation, and the progress.

import { useEffect, useState } from 'preact/hooks';
import { type Problem, problemOf } from '../api.ts';
import { useSession } from '../context.ts';
import { count } from '../format.ts';
import { Head } from '../frame.tsx';
import { useLoad } from '../hooks.ts';
import { doubled, inWords, logsParams, type NamedFilter, namedFilter } from '../logs/filters.ts';
import { navigate, useRoute } from '../route.ts';
import { full } from '../time.ts';
import type { Erasure, ErasurePreview, Remaining } from '../types.ts';
import { Confirm, Empty, Loading, Show, Trouble } from '../ui/parts.tsx';

/** How often the progress is asked for (ms). */
const LOOK_MS = 3_000;

/** What is to be erased, in the API's words. */
interface Wish {
  filter: NamedFilter;
  since: string;
  until: string;
}

const PLACES: Record<string, string> = {
  cloudwatch_logs: 'CloudWatch Logs',
  uploaded_files: 'Uploaded files',
  failure_bucket: 'The failure bucket',
  table_backups: 'Backups of the table',
};

const STATES: Record<Erasure['state'], string> = {
  pending: 'The job runs in the background, every five minutes by default.',
  verifying:
    'Everything that was found is erased. One more pass follows 16 minutes later, for writes that were under way.',
  complete: 'Everything that matched is erased.',
};

export function ErasePage() {
  const { app, link, manages } = useSession();
  const { params } = useRoute();
  const job = params.get('job');
  const filter = namedFilter(params);
  const [since, until] = [params.get('since'), params.get('until')];
  const twice = doubled(params);
  const logs = link('logs');
  let content: preact.JSX.Element;
  if (app === undefined) content = <Empty title="Choose an app">An erasure covers one app.</Empty>;
  else if (!manages)
    content = <Empty title="This credential may not erase records">A key with the scope “manage” may.</Empty>;
  else if (job !== null) content = <Job key={job} app={app} job={job} />;
  else if (twice !== undefined)
    content = (
      <Empty title="Two conditions on one member">
        An erasure takes one condition on {twice}. <a href={logs}>Choose others</a>
      </Empty>
    );
  else if (since === null || until === null || Object.keys(filter).length === 0)
    content = (
      <Empty title="Choose the records first">
        Find them in the logs, for example by the member that names a person, and press “Erase these records”.{' '}
        <a href={logs}>To the logs</a>
      </Empty>
    );
  else content = <Ask key={params.toString()} app={app} wish={{ filter, since, until }} />;
  return (
    <div class="page">
      <Head title="Erase" />
      <div class="settings">{content}</div>
    </div>
  );
}

function Ask({ app, wish }: { app: string; wish: Wish }) {
  const { client } = useSession();
  const { params } = useRoute();
  const [preview, setPreview] = useState<ErasurePreview>();
  const [problem, setProblem] = useState<Problem>();
  const [counting, setCounting] = useState(false);
  const [asking, setAsking] = useState(false);
  const path = `apps/${app}/erase`;
  const look = async () => {
    setCounting(true);
    setProblem(undefined);
    try {
      setPreview(await client.send<ErasurePreview>('POST', path, { ...wish, dry_run: true }));
    } catch (error) {
      setProblem(problemOf(error));
    }
    setCounting(false);
  };
  const begin = async () => {
    const { job_id } = await client.send<Erasure>('POST', path, wish);
    const next = new URLSearchParams({ job: job_id });
    for (const name of ['app', 'tz']) {
      const value = params.get(name);
      if (value !== null) next.set(name, value);
    }
    navigate('erase', next, true);
  };
  return (
    <>
      <Matching wish={wish}>
        {problem && <Trouble problem={problem} />}
        {counting ? (
          <Loading label="Counting" />
        ) : (
          <div class="detail-actions">
            <button type="button" class="button" onClick={() => void look()}>
              Count what would be erased
            </button>
          </div>
        )}
      </Matching>
      {preview && (
        <section class="card wide-card danger-card" aria-label="What would be erased">
          <h2>{howMany(preview)} would be erased</h2>
          {!preview.complete && (
            <p>
              Counting took too long and was stopped; a shorter range can be counted as a whole. The erasure
              goes through all of the range.
            </p>
          )}
          <Numbers of={preview} />
          {preview.files > 0 && (
            <p>
              The uploaded files that they came from are removed as a whole, and cannot be read again. Their
              other records stay.
            </p>
          )}
          <Remains places={preview.remains} />
          <div class="detail-actions">
            <button
              type="button"
              class="button danger"
              disabled={preview.complete && preview.records === 0}
              onClick={() => setAsking(true)}
            >
              Erase …
            </button>
          </div>
        </section>
      )}
      {preview && asking && (
        <Confirm
          title="Erase these records?"
          action="Erase"
          danger
          typed={app}
          close={() => setAsking(false)}
          run={begin}
        >
          <p>
            {howMany(preview)} of <strong>{app}</strong> will be erased in the background. They cannot be
            brought back.
          </p>
        </Confirm>
      )}
    </>
  );
}

function howMany({ records, complete }: ErasurePreview): string {
  return `${complete ? '' : 'At least '}${count(records)} record${records === 1 ? '' : 's'}`;
}

function Job({ app, job }: { app: string; job: string }) {
  const { client, utc } = useSession();
  const loaded = useLoad(job, (signal) =>
    client.get<Erasure>(`apps/${app}/erase/${encodeURIComponent(job)}`, {}, signal),
  );
  const { data, reload } = loaded;
  const over = data?.state === 'complete';
  useEffect(() => {
    if (over) return;
    const timer = setInterval(() => document.hidden || reload(), LOOK_MS);
    return () => clearInterval(timer);
  }, [over, reload]);
  return (
    <Show loaded={loaded}>
      {(erasure) => (
        <>
          <section class="card wide-card" aria-label="Progress">
            <header>
              <h2>{over ? 'Erased' : 'Erasing'}</h2>
              <span class={`state state-${over ? 'up' : 'unknown'}`} role="status">
                {erasure.state}
              </span>
            </header>
            <p>{STATES[erasure.state]}</p>
            <Numbers of={erasure} />
            <p class="muted">
              Job <code>{erasure.job_id}</code>, requested{' '}
              {full(Date.parse(erasure.requested_at), utc).slice(0, 19)}
              {erasure.completed_at &&
                `, complete ${full(Date.parse(erasure.completed_at), utc).slice(0, 19)}`}
              . {!over && 'You can leave this page; its URL shows the job again.'}
            </p>
            <Remains places={erasure.remains} />
          </section>
          <Matching wish={erasure} />
        </>
      )}
    </Show>
  );
}

/** The filter and the range in words, with a link to the records. */
function Matching({ wish, children }: { wish: Wish; children?: preact.ComponentChildren }) {
  const { app, link, utc } = useSession();
  const { filter, since, until } = wish;
  // A complete job keeps the names of its filters, without their values.
  const kept = Object.values(filter).every((value) => value !== '');
  const words = kept ? inWords(filter) : Object.keys(filter).join(', ');
  const range = [since, until].map((at) => full(Date.parse(at), utc).slice(0, 19)).join(' – ');
  return (
    <section class="card wide-card matching" aria-label="Records to erase">
      <h2>Records of {app}</h2>
      <p>
        {kept ? (
          <a href={link('logs', { ...logsParams(filter), since, until })}>{words}</a>
        ) : (
          `Filters on ${words}; their values are not kept`
        )}
        <br />
        <span class="muted">{range}</span>
      </p>
      {children}
    </section>
  );
}

function Numbers({ of }: { of: Pick<Erasure, 'records' | 'blocks' | 'files' | 'unreadable_blocks'> }) {
  const all: [string, number][] = [
    ['Records', of.records],
    ['Stored blocks', of.blocks],
    ['Uploaded files', of.files],
    ['Unreadable blocks', of.unreadable_blocks],
  ];
  return (
    <dl class="facts">
      {all
        .filter(([name, n]) => n > 0 || name === 'Records')
        .map(([name, n]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{count(n)}</dd>
          </div>
        ))}
    </dl>
  );
}

function Remains({ places }: { places: Remaining[] }) {
  const { utc } = useSession();
  if (!places.length) return null;
  return (
    <>
      <h3>Not reached</h3>
      <ul class="remains">
        {places.map(({ place, name, until, note }) => (
          <li key={`${place} ${name}`}>
            <strong>{PLACES[place] ?? place}</strong> {name && <code>{name}</code>}{' '}
            {until === null
              ? 'until it is deleted'
              : `until ${full(Date.parse(until), utc).slice(0, 10)} at the latest`}
            <span class="muted"> {note}</span>
          </li>
        ))}
      </ul>
    </>
  );
}
