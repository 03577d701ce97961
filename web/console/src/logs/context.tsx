// A record between its neighbours, without any filter.

import { useRef } from 'preact/hooks';
import type { Client, Params } from '../api.ts';
import { useSession } from '../context.ts';
import { Head } from '../frame.tsx';
import { useKeys, useLoad } from '../hooks.ts';
import { full } from '../time.ts';
import type { LogRecord } from '../types.ts';
import { Empty, Show } from '../ui/parts.tsx';
import { keyOf, List, type ListHandle } from './list.tsx';
import { place } from './one.ts';
import type { Question } from './page.tsx';
import type { Row } from './store.ts';

/** Records on each side. */
const NEIGHBOURS = 50;
/** Newer neighbours are looked for in ranges that grow to this (ms). */
const FAR_MS = 86_400_000;

export function Context({ question }: { question: Question }) {
  const { client, app } = useSession();
  const { view, ask } = question;
  const list = useRef<ListHandle>(null);
  const wanted = place(view.record);
  const loaded = useLoad(`${app}/${view.record}`, async (signal) =>
    wanted ? neighbours(client, app, wanted.ms, wanted.id, signal) : [],
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

async function neighbours(
  client: Client,
  app: string | undefined,
  ms: number,
  id: string,
  signal: AbortSignal,
): Promise<Row[]> {
  const ask = async (params: Params) =>
    (await client.list<LogRecord>('logs', { app_id: app, ...params }, signal)).data;
  // Those of the same millisecond as well: the record is somewhere among them.
  const older = await ask({ until: ms + 1, limit: NEIGHBOURS * 4 });
  const newer = app === undefined ? await reached(ask, ms) : await ask(after(ms));
  const newest = app === undefined ? newer.slice(-NEIGHBOURS) : newer.slice(0, NEIGHBOURS).reverse();
  const at = older.findIndex((record) => record.id === id);
  const records = [...newest, ...older.slice(0, Math.max(at, 0) + NEIGHBOURS + 1)];
  return records.map((record) => ({ record, ms: Date.parse(record.timestamp), late: false }));
}

const after = (ms: number): Params => ({ since: ms + 1, order: 'asc', limit: NEIGHBOURS });

/** The records of all apps cannot be listed oldest first: they are looked for in ranges that grow. */
async function reached(ask: (params: Params) => Promise<LogRecord[]>, ms: number): Promise<LogRecord[]> {
  let newer: LogRecord[] = [];
  for (let reach = 1_000; reach <= FAR_MS && newer.length < NEIGHBOURS; reach *= 8) {
    newer = await ask({ since: ms + 1, until: ms + 1 + reach, limit: 1_000 });
  }
  return newer;
}
