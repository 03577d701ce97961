// The page of logs: a question in the toolbar, its records below, and the live tail.

import { useCallback, useEffect, useMemo, useReducer, useRef, useState } from 'preact/hooks';
import { useSession } from '../context.ts';
import { Head } from '../frame.tsx';
import { useKeys } from '../hooks.ts';
import { navigate, useRoute } from '../route.ts';
import { bounds, DAY_MS } from '../time.ts';
import { Empty, IconButton, Loading, Trouble } from '../ui/parts.tsx';
import { Context } from './context.tsx';
import { Download } from './download.tsx';
import {
  type Filters,
  filtersOf,
  isNarrowed,
  namedParams,
  paramsOf,
  query,
  type View,
  viewOf,
} from './filters.ts';
import { Histogram } from './histogram.tsx';
import { List, type ListHandle } from './list.tsx';
import { Store } from './store.ts';
import { startTail } from './tail.ts';
import { Toolbar } from './toolbar.tsx';

export interface Question {
  filters: Filters;
  view: View;
  /** Asks something else; with `replace`, "back" skips what is shown now. */
  ask: (change: { filters?: Partial<Filters>; view?: Partial<View> }, replace?: boolean) => void;
}

export function LogsPage() {
  const { app } = useSession();
  const { params } = useRoute();
  const filters = useMemo(() => filtersOf(params), [params]);
  const view = viewOf(params);
  const ask: Question['ask'] = (change, replace) => {
    const next = paramsOf(app, { ...filters, ...change.filters }, { ...view, ...change.view });
    navigate('logs', next, replace);
  };
  const question = { filters, view, ask };
  return view.record ? <Context question={question} /> : <Records question={question} />;
}

/** The longest range of an erasure, as the API has it (ms). */
const LONGEST_ERASURE_MS = 3_660 * DAY_MS;

/** The parameters of the page that erases what these filters find now. */
function eraseParams(app: string, filters: Filters, view: View): URLSearchParams {
  const params = namedParams(app, filters, view);
  const { since, until = Date.now() } = bounds(filters.range, Date.now());
  params.set('since', new Date(since ?? until - LONGEST_ERASURE_MS).toISOString());
  params.set('until', new Date(until).toISOString());
  return params;
}

function Records({ question }: { question: Question }) {
  const { client, app, apps, kind, manages } = useSession();
  const { filters, view, ask } = question;
  const [, redraw] = useReducer((n: number) => n + 1, 0);
  const [round, again] = useReducer((n: number) => n + 1, 0);
  const [downloading, setDownloading] = useState(false);
  /** The live tail has ended by itself. */
  const [stopped, setStopped] = useState(false);
  const list = useRef<ListHandle>(null);
  const asked = JSON.stringify([app, filters]);
  // `asked` is the app and the filters; a round asks again. The list stays when the live tail ends.
  const store = useMemo(
    () => new Store(client, query(app, filters, Date.now()), () => redraw(undefined as never), view.live),
    [client, asked, round],
  );
  useEffect(() => {
    void store.older(Date.now());
    return () => store.close();
  }, [store]);
  const state = store.state;

  const live = view.live && !stopped && state.loadedAt !== undefined;
  useEffect(() => {
    if (!live) return;
    const tail = startTail({
      look: () => store.tail(),
      hidden: () => document.hidden,
      now: Date.now,
      expired: () => setStopped(true),
    });
    return () => tail.stop();
  }, [live, store]);

  const refresh = useCallback(() => again(undefined as never), []);
  const search = () => document.querySelector<HTMLInputElement>('#search')?.focus();
  const setLive = (on: boolean) => {
    setStopped(false);
    // A range that ends in the past gets no new records.
    const open = on && filters.range.until !== undefined;
    ask({ view: { live: on }, ...(open && { filters: { range: { last: '15m' } } }) }, true);
    if (!on) return;
    // The tail begins where the list ends, which may have been loaded long ago.
    refresh();
    list.current?.toTop();
  };
  useKeys({
    '/': search,
    l: () => setLive(!view.live),
    w: () => ask({ view: { wrap: !view.wrap } }, true),
    j: () => list.current?.move(1),
    k: () => list.current?.move(-1),
    Enter: () => list.current?.toggle(),
    c: () => list.current?.context(),
  });

  const none = state.complete && state.rows.length === 0;
  const older = () => void store.older(Date.now());
  const searchOlder = (
    <button type="button" class="button small" onClick={older}>
      Search older records
    </button>
  );
  return (
    <div class="page logs">
      <Head title="Logs" allApps>
        {app !== undefined && manages && (
          <IconButton
            icon="alerts"
            label="Alert on these filters"
            onClick={() => {
              const params = namedParams(app, filters, view);
              params.set('new', '1');
              navigate('alerts', params);
            }}
          />
        )}
        {app !== undefined && manages && isNarrowed(filters) && (
          <IconButton
            icon="erase"
            label="Erase these records"
            onClick={() => navigate('erase', eraseParams(app, filters, view))}
          />
        )}
        <IconButton icon="download" label="Download" onClick={() => setDownloading(true)} />
        <IconButton icon="refresh" label="Ask again" onClick={refresh} />
      </Head>
      {downloading && <Download question={question} close={() => setDownloading(false)} />}
      <Toolbar question={question} setLive={setLive} />
      <Histogram question={question} round={round} />
      {stopped && (
        <div class="notice" role="status">
          The live tail has stopped after half an hour.
          <button type="button" class="button small" onClick={() => setLive(true)}>
            Resume
          </button>
        </div>
      )}
      {state.problem && <Trouble problem={state.problem} retry={older} />}
      {live && state.tailProblem && <Trouble problem={state.tailProblem} />}
      {state.skipped > 0 && (
        <div class="notice" role="status">
          {state.skipped} blocks of records could not be read and are missing here.
        </div>
      )}
      {state.missed && (
        <div class="notice" role="status">
          More records have arrived than the live tail reads. The newest are shown, some before them may be
          missing.
          <button type="button" class="button small" onClick={refresh}>
            Reload
          </button>
        </div>
      )}
      {none ? (
        isNarrowed(filters) || filters.range.last !== undefined || filters.range.since !== undefined ? (
          <Empty title="No record matches">
            Nothing was found{' '}
            {filters.range.last ? `in the last ${filters.range.last}` : 'in this range of time'}. A longer
            range may help:{' '}
            <button type="button" class="link" onClick={() => ask({ filters: { range: { last: '7d' } } })}>
              7 days
            </button>
            ,{' '}
            <button type="button" class="link" onClick={() => ask({ filters: { range: {} } })}>
              all time
            </button>
            {isNarrowed(filters) && (
              <>
                ; or{' '}
                <button
                  type="button"
                  class="link"
                  onClick={() => ask({ filters: { levels: [], search: '', requestId: '', fields: [] } })}
                >
                  without filters
                </button>
              </>
            )}
            .
          </Empty>
        ) : (
          <Empty
            title="No records yet"
            command={`curl "${client.base}logs" -H "X-API-Key: $KEY" \\\n  -H "Content-Type: application/json" \\\n  -d '{"level": "INFO", "message": "hello"}'`}
          >
            Write one, or upload a log file.
          </Empty>
        )
      ) : state.rows.length === 0 && state.paused ? (
        <Empty title="No record found yet">
          What is older has not been searched, because this takes long. {searchOlder}
        </Empty>
      ) : state.rows.length === 0 && state.problem === undefined ? (
        <Loading label="Searching" />
      ) : (
        <List
          handle={list}
          rows={state.rows}
          question={question}
          showApp={kind === 'admin' && app === undefined && apps.length > 1}
          live={view.live && !stopped}
          atEnd={() => void store.nearEnd(Date.now())}
          footer={
            state.loading ? (
              <Loading label="Older records" />
            ) : state.complete ? (
              <p class="muted end">These are all records of this range.</p>
            ) : (
              !state.problem && searchOlder
            )
          }
        />
      )}
    </div>
  );
}
