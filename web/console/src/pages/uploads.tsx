// Upload sessions of large files, with what S3 has of them.

import { useSession } from '../context.ts';
import { bytes } from '../format.ts';
import { Head } from '../frame.tsx';
import { useNow } from '../hooks.ts';
import { ago, full } from '../time.ts';
import type { Upload } from '../types.ts';
import { More, usePages } from '../ui/pages.tsx';
import { Empty, IconButton, Loading, Trouble } from '../ui/parts.tsx';

export function UploadsPage() {
  const { client, kind, utc } = useSession();
  const now = useNow(30_000);
  const isApp = kind === 'app';
  const paged = usePages<Upload>(client, isApp ? '../uploads' : undefined, { progress: true, limit: 20 });
  const none = paged.complete && !paged.items.length;
  return (
    <div class="page">
      <Head title="Uploads">
        {isApp && <IconButton icon="refresh" label="Reload" onClick={paged.reload} />}
      </Head>
      {!isApp && (
        <Empty title="Sessions belong to an app">
          They are shown to an app's own key: log in with one to see them.
        </Empty>
      )}
      {paged.problem && <Trouble problem={paged.problem} retry={paged.reload} />}
      {isApp && none && (
        <Empty
          title="No uploads yet"
          command={`LOGFERRY_URL="${new URL('..', client.base).href.replace(/\/$/, '')}" LOGFERRY_API_KEY="$KEY" logferry upload film.mp4`}
        >
          Large files are uploaded in parts, and resume after any interruption. From the command line:
        </Empty>
      )}
      <ul class="files">
        {paged.items.map((one) => (
          <li key={one.uploadId} class="file">
            <div class="file-line">
              <span class={`status status-${one.status.toLowerCase()}`}>{one.status}</span>
              <span class="file-name" title={one.key}>
                <bdi>{one.filename}</bdi> <span class="muted">{one.type}</span>
              </span>
              <span class="file-numbers">
                <span class="muted">{one.subject}</span>
                <span>
                  {bytes(one.uploaded_bytes ?? 0)}
                  {one.size !== null && ` of ${bytes(one.size)}`}
                </span>
                <time class="muted" dateTime={one.created_at} title={full(Date.parse(one.created_at), utc)}>
                  {ago(Date.parse(one.created_at), now)}
                </time>
              </span>
              {one.status === 'OPEN' && one.size ? (
                <progress
                  aria-label={`${one.filename}: uploaded`}
                  max={one.size}
                  value={Math.min(one.size, one.uploaded_bytes ?? 0)}
                />
              ) : null}
            </div>
          </li>
        ))}
      </ul>
      {isApp && paged.loading && <Loading label="Uploads" />}
      <More paged={paged} what="uploads" />
    </div>
  );
}
