// The ledger: every uploaded log file, what became of it, and its bad records.

import { useState } from 'preact/hooks';
import { useSession } from '../context.ts';
import { bytes, count } from '../format.ts';
import { Head } from '../frame.tsx';
import { useNow } from '../hooks.ts';
import { navigate, useRoute } from '../route.ts';
import { ago, full } from '../time.ts';
import type { FileStatus, LedgerFile, Quarantined } from '../types.ts';
import { Icon } from '../ui/icons.tsx';
import { More, usePages } from '../ui/pages.tsx';
import { Confirm, Copy, Empty, IconButton, Loading, Trouble } from '../ui/parts.tsx';
import { LogText } from '../ui/text.tsx';

const STATUSES: FileStatus[] = ['FAILED', 'PROCESSING', 'PENDING', 'COMPLETED'];

export function FilesPage() {
  const { client, app, kind, manages } = useSession();
  const { params } = useRoute();
  const status = STATUSES.find((one) => one === params.get('status'));
  const key = params.get('key') ?? undefined;
  // The administration lists the failed files of all apps; other files by app.
  const asked = app === undefined && key === undefined ? 'FAILED' : status;
  const paged = usePages<LedgerFile>(client, 'files', { app_id: app, status: asked, key, limit: 50 });
  const [redriving, setRedriving] = useState(false);
  const change = (name: string, value: string | undefined) => {
    const next = new URLSearchParams(params);
    if (value) next.set(name, value);
    else next.delete(name);
    navigate('files', next);
  };
  return (
    <div class="page">
      <Head title="Files" allApps>
        {manages && asked === 'FAILED' && paged.items.length > 0 && (
          <button type="button" class="button" onClick={() => setRedriving(true)}>
            <Icon name="refresh" size={14} /> Read failed files again
          </button>
        )}
        <IconButton icon="refresh" label="Reload" onClick={paged.reload} />
      </Head>
      <div class="toolbar" role="search" aria-label="Filters">
        <form
          class="search"
          onSubmit={(event) => {
            event.preventDefault();
            change('key', new FormData(event.currentTarget).get('key')?.toString().trim());
          }}
        >
          <Icon name="search" />
          <input
            key={key}
            name="key"
            type="search"
            aria-label="Key of an object"
            placeholder="Key of an object, in full"
            defaultValue={key}
          />
        </form>
        <fieldset class="levels">
          <legend class="visually-hidden">Status</legend>
          {STATUSES.map((one) => (
            <button
              key={one}
              type="button"
              class={`chip status-chip status-${one.toLowerCase()}`}
              aria-pressed={asked === one}
              disabled={app === undefined && one !== 'FAILED'}
              onClick={() => change('status', status === one ? undefined : one)}
            >
              {one}
            </button>
          ))}
        </fieldset>
      </div>
      {app === undefined && kind === 'admin' && (
        <p class="muted">
          Failed files of all apps, and those that no app owns. Choose an app to see its other files.
        </p>
      )}
      {paged.problem && <Trouble problem={paged.problem} retry={paged.reload} />}
      {paged.complete && !paged.items.length && (
        <Empty
          title={asked === 'FAILED' ? 'No failed files' : asked || key ? 'No such files' : 'No files yet'}
          {...(asked === undefined &&
            !key && {
              command: `gzip -k app.log\nURL=$(curl -s "${new URL('../presigned-url', client.base).href}" -H "X-API-Key: $KEY" \\\n  -H "Content-Type: application/json" -d '{"filename": "app.log.gz"}' | jq -r .presignedUrl)\ncurl -T app.log.gz -H "Content-Type: application/gzip" "$URL"`,
            })}
        >
          {asked === 'FAILED'
            ? 'Every file that has arrived was read.'
            : asked || key
              ? 'No file of the last 90 days matches.'
              : 'Upload one with a presigned URL; its records are in the logs within seconds.'}
        </Empty>
      )}
      <ul class="files">
        {paged.items.map((file) => (
          <FileRow key={`${file.key}/${file.version}`} file={file} reload={paged.reload} />
        ))}
      </ul>
      {paged.loading && <Loading label="Files" />}
      <More paged={paged} what="files" />
      {redriving && (
        <Confirm
          title="Read failed files again?"
          action="Read again"
          close={() => setRedriving(false)}
          run={async () => {
            await client.send(
              'POST',
              'files/redrive',
              {},
              app !== undefined && kind === 'admin' ? { app_id: app } : {},
            );
            paged.reload();
          }}
        >
          <p>
            All failed files{app ? ` of ${app}` : ' of all apps'} are read from their beginning, within
            minutes. Nothing is stored or counted twice.
          </p>
        </Confirm>
      )}
    </div>
  );
}

function FileRow({ file, reload }: { file: LedgerFile; reload: () => void }) {
  const { client, manages, kind, utc } = useSession();
  const [open, setOpen] = useState(false);
  const [redriving, setRedriving] = useState(false);
  const now = useNow(60_000);
  // Without the ULID in front, which makes the key unique.
  const name = (file.key.split('/').at(-1) ?? file.key).replace(/^[0-9A-HJKMNP-TV-Z]{26}-/, '');
  const created = Date.parse(file.created_at);
  const ended = file.status === 'FAILED' || file.status === 'COMPLETED';
  return (
    <li class={`file ${open ? 'open' : ''}`}>
      <button type="button" class="file-line" aria-expanded={open} onClick={() => setOpen(!open)}>
        <span class={`status status-${file.status.toLowerCase()}`}>{file.status}</span>
        <span class="file-name" title={file.key}>
          <bdi>{name}</bdi>
          {file.app_id && <span class="muted"> {file.app_id}</span>}
        </span>
        <span class="file-numbers">
          {ended && <span>{count(file.counts.ok)} records</span>}
          {file.counts.quarantined > 0 && (
            <span class="warn">{count(file.counts.quarantined)} quarantined</span>
          )}
          {file.size !== null && <span class="muted">{bytes(file.size)}</span>}
          <time class="muted" dateTime={file.created_at} title={full(created, utc)}>
            {ago(created, now)}
          </time>
        </span>
        {file.reason && (
          <span class="file-reason">
            <code>{file.reason.code}</code> {file.reason.message}
          </span>
        )}
      </button>
      {open && (
        <div class="file-detail">
          <dl class="facts">
            <Fact name="Key">
              <code>{file.key}</code>
            </Fact>
            {file.version && (
              <Fact name="Version">
                <code>{file.version}</code>
              </Fact>
            )}
            <Fact name="First seen">{full(created, utc)}</Fact>
            {file.processed_at && <Fact name="Processed">{full(Date.parse(file.processed_at), utc)}</Fact>}
            <Fact name="Attempts">{file.attempt}</Fact>
            <Fact name="Decompressed">{bytes(file.counts.bytes)}</Fact>
            {Object.entries(file.kinds ?? {}).length > 0 && (
              <Fact name="Read as">
                {Object.entries(file.kinds)
                  .map(([kindOf, n]) => `${kindOf} (${count(Number(n))})`)
                  .join(', ')}
              </Fact>
            )}
            {file.warning && <Fact name="Warning">{file.warning}</Fact>}
          </dl>
          <div class="detail-actions">
            <Copy label="Copy key" text={() => file.key} />
            {manages && ended && (
              <button type="button" class="button small" onClick={() => setRedriving(true)}>
                <Icon name="refresh" size={14} /> Read again
              </button>
            )}
          </div>
          {file.counts.quarantined > 0 && <Bad file={file} />}
        </div>
      )}
      {redriving && (
        <Confirm
          title="Read this file again?"
          action="Read again"
          close={() => setRedriving(false)}
          run={async () => {
            const named = kind === 'admin' && file.app_id ? { app_id: file.app_id } : {};
            await client.send('POST', 'files/redrive', { key: file.key, status: file.status }, named);
            reload();
          }}
        >
          <p>
            <code>{file.key}</code> is read from its beginning, within minutes. Nothing is stored or counted
            twice.
          </p>
        </Confirm>
      )}
    </li>
  );
}

function Fact({ name, children }: { name: string; children: preact.ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function Bad({ file }: { file: LedgerFile }) {
  const { client } = useSession();
  const named = {
    app_id: file.app_id ?? undefined,
    key: file.key,
    version: file.version ?? undefined,
    limit: 20,
  };
  const paged = usePages<Quarantined>(client, 'files/quarantine', named);
  return (
    <section class="bad-records">
      <h3>Quarantined records</h3>
      {paged.problem && <Trouble problem={paged.problem} retry={paged.reload} />}
      <ol>
        {paged.items.map((bad) => (
          <li key={bad.ordinal}>
            <p>
              <code>{bad.reason}</code> record {count(bad.ordinal)}
              {bad.count > 1 && ` to ${count(bad.last_ordinal)}, ${count(bad.count)} bad ones`}, bytes{' '}
              {count(bad.start)}–{count(bad.end)}
            </p>
            <pre tabIndex={0}>
              <LogText text={bad.sample} />
            </pre>
          </li>
        ))}
      </ol>
      {paged.loading && <Loading />}
      <More paged={paged} what="bad records" />
    </section>
  );
}
