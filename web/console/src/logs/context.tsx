// A record between its neighbours, without any filter.

import { useRef } from 'preact/hooks';
import type { Client } from '../api.ts';
import { useSession } from '../context.ts';
import { Head } from '../frame.tsx';
import { useKeys, useLoad } from '../hooks.ts';
import { full } from '../time.ts';
import { Empty, Show } from '../ui/parts.tsx';
import { keyOf, List, type ListHandle } from './list.tsx';
import { find, type Place, place } from './one.ts';
import type { Question } from './page.tsx';
import type { Row } from './store.ts';

/** Records on each side. */
const NEIGHBOURS = 50;

export function Context({ question }: { question: Question }) {
  const { client, app } = useSession();
  const { view, ask } = question;
  const list = useRef<ListHandle>(null);
  const wanted = place(view.record);
  const loaded = useLoad(`${app}/${view.record}`, async (signal) =>
    wanted ? neighbours(client, app, wanted, signal) : [],
  );
  const back = () => ask({ view: { record: '' } });
  useKeys({
    Escape: back,
    w: () => ask({ view: { wrap: !view.wrap } }, true),
    j: () => list.current?.move(1),
    k: () => list.current?.move(-1),
    Enter: () => list.current?.toggle(),
    c: () => list.current?.context(),
  });
  return (
    <div class="page logs">
      <Head title="Logs" />
      <div class="notice">
        <span>
          {wanted ? `Around ${full(wanted.ms, view.utc)}, without filters` : 'This link names no record'}
        </span>
        <button type="button" class="button small" onClick={back}>
          Back to the list
        </button>
      </div>
      <Show loaded={loaded}>
        {(rows) => {
          const found = rows.find((row) => row.record.id === wanted?.id);
          if (!found) {
            return (
              <Empty title="The record is not there">
                It may have expired or been pruned, or it belongs to another app.
              </Empty>
            );
          }
          return (
            <List
              key={view.record}
              handle={list}
              rows={rows}
              question={question}
              showApp={app === undefined}
              live={false}
              start={keyOf(found)}
              footer={null}
            />
          );
        }}
      </Show>
    </div>
  );
}

/** The record and its neighbours of the same app, newest first; none if the record is not there. */
async function neighbours(
  client: Client,
  session: string | undefined,
  wanted: Place,
  signal: AbortSignal,
): Promise<Row[]> {
  const app = wanted.app ?? session;
  const found = await find(client, app, wanted, { neighbours: NEIGHBOURS }, signal);
  if (!found) return [];
  const records = [...found.newer.reverse(), found.record, ...found.older];
  return records.map((record) => ({
    // Where all apps are shown, a record says which one it is of.
    record: session === undefined && app !== undefined ? { ...record, app_id: app } : record,
    ms: Date.parse(record.timestamp),
    late: false,
  }));
}
