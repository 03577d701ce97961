// What a record contains: the whole message, its members as a tree, and the entry as it was stored.

import { useState } from 'preact/hooks';
import { useSession } from '../context.ts';
import { write } from '../exact.ts';
import { useLoad } from '../hooks.ts';
import { href } from '../route.ts';
import { full } from '../time.ts';
import type { Json, LogRecord } from '../types.ts';
import { Icon } from '../ui/icons.tsx';
import { Copy, Show } from '../ui/parts.tsx';
import { Clipped, Tree } from '../ui/tree.tsx';
import { type Condition, DEFAULT_RANGE, exactly, paramsOf } from './filters.ts';
import { find, placeOf } from './one.ts';
import type { Question } from './page.tsx';
import type { Row } from './store.ts';

/** Members that say how the entry was read; no entry has them. */
const MARKS = new Set(['timestampFallback', 'timestampAssumed', 'levelUnknown']);
/** Members that the line above shows already. */
const SHOWN = new Set(['id', 'app_id', 'timestamp', 'level', 'message', 'rawData']);

export function Detail({ row, question, words }: { row: Row; question: Question; words: string[] }) {
  const { client, app } = useSession();
  const { view, filters, ask } = question;
  const { record, ms } = row;
  const [raw, setRaw] = useState(false);
  const owner = record.app_id ?? app;
  const place = placeOf(ms, record);
  const link = () => {
    const alone = { ...view, record: place, live: false, highlight: '' };
    const none = {
      levels: [],
      search: '',
      everywhere: false,
      requestId: '',
      fields: [],
      range: DEFAULT_RANGE,
    };
    return new URL(href('logs', paramsOf(owner, none, alone)), location.href).href;
  };
  const members = Object.entries(record).filter(([name]) => !SHOWN.has(name));
  const pick = (path: string[], value: string) => {
    if (path[0] === 'request_id') return () => ask({ filters: { requestId: value } });
    // Members that the API does not know by name are below `fields`, and are found by their own path.
    const name = (path[0] === 'fields' ? path.slice(1) : path).join('.');
    if (!name || MARKS.has(name)) return undefined;
    const wanted: Condition = [name, exactly(value)];
    return () =>
      ask({ filters: { fields: [...filters.fields.filter(([other]) => other !== name), wanted] } });
  };
  return (
    <div class="detail">
      <div class="detail-actions">
        <button
          type="button"
          class="button small"
          onClick={() => ask({ view: { record: place, live: false } })}
        >
          <Icon name="context" size={14} /> View in context
        </button>
        <Copy icon="link" label="Copy link" text={link} />
        <Copy label="Copy message" text={() => record.message} />
        <Copy label="Copy JSON" text={() => write(record, 2)} />
        <button type="button" class="button small" aria-expanded={raw} onClick={() => setRaw(!raw)}>
          Stored entry
        </button>
      </div>
      <Clipped text={record.message} classes="detail-message" words={words} first={16_384} />
      <dl class="facts">
        <div>
          <dt>Time</dt>
          <dd>
            {full(ms, view.utc)}
            {record.timestampFallback === true && (
              <span class="muted"> (of arrival: the entry has none)</span>
            )}
            {record.timestampAssumed === true && <span class="muted"> (zone or year assumed)</span>}
          </dd>
        </div>
        <div>
          <dt>Id</dt>
          <dd>
            <code>{record.id}</code>
          </dd>
        </div>
      </dl>
      {members.length > 0 && <Tree value={Object.fromEntries(members) as Json} path={[]} pick={pick} />}
      {raw && (
        <Raw
          record={record}
          ms={ms}
          load={async (signal) =>
            (await find(client, owner, { ms, id: record.id }, { raw: true }, signal))?.record
          }
        />
      )}
    </div>
  );
}

function Raw(props: {
  record: LogRecord;
  ms: number;
  load: (signal: AbortSignal) => Promise<LogRecord | undefined>;
}) {
  const loaded = useLoad(props.record.id, props.load);
  return (
    <Show loaded={loaded}>
      {(found) => {
        if (!found) return <p class="muted">The record is no longer stored.</p>;
        const entry = found.rawData;
        const text = typeof entry === 'string' ? entry : write(entry ?? null, 2);
        return (
          <div class="raw">
            <Copy label="Copy entry" text={() => text} />
            <Clipped text={text} classes="raw-text" first={16_384} />
          </div>
        );
      }}
    </Show>
  );
}
