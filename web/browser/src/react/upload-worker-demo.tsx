/** The upload worker to try out: pick files, pause, reload, close the tab, come back. */

import type { ChangeEvent, ReactNode } from 'react';
import type { UploadSession } from '../uploads/protocol.ts';
import type { UploadsOptions } from '../uploads/settings.ts';
import { type UploadWorker, useUploadWorker } from './use-upload-worker.ts';

export interface UploadWorkerDemoProps extends UploadsOptions {
  projectId?: string;
}

const MIB = 1024 * 1024;
const LIMITS = [null, MIB / 2, 2 * MIB, 10 * MIB];

export function UploadWorkerDemo({ projectId = 'demo', ...options }: UploadWorkerDemoProps): ReactNode {
  const worker = useUploadWorker(options);

  const pick = async (event: ChangeEvent<HTMLInputElement>) => {
    const files = Array.from(event.target.files ?? []);
    event.target.value = '';
    for (const file of files) await worker.startUpload(file, projectId, file.name);
  };

  // Refusals of files that never became an upload.
  const refusals = [...worker.uploadErrors].filter(([id]) => !worker.activeUploads.has(id));

  return (
    <section className="logferry-uploads" data-host={worker.host ?? ''}>
      <p>
        <input type="file" multiple aria-label="Files to upload" onChange={pick} disabled={!worker.isReady} />{' '}
        <label>
          Limit{' '}
          <select onChange={({ target }) => worker.setBandwidthLimit(LIMITS[Number(target.value)] ?? null)}>
            {LIMITS.map((limit, at) => (
              <option key={limit} value={at}>
                {limit ? `${limit / MIB} MiB/s` : 'none'}
              </option>
            ))}
          </select>
        </label>
      </p>
      {refusals.map(([id, message]) => (
        <p key={id} role="alert">
          {message}
        </p>
      ))}
      <ul>
        {[...worker.activeUploads.values()].map((session) => (
          <UploadRow key={session.uploadId} session={session} worker={worker} />
        ))}
      </ul>
      <p>
        <small>Runs in: {hostName(worker.host)}</small>
      </p>
    </section>
  );
}

function UploadRow({ session, worker }: { session: UploadSession; worker: UploadWorker }): ReactNode {
  const { uploadId, status, fileName } = session;
  const progress = worker.uploadProgress.get(uploadId);
  const error = worker.uploadErrors.get(uploadId);
  const running = ['queued', 'uploading', 'waiting'].includes(status);
  const again = (event: ChangeEvent<HTMLInputElement>) => {
    const [file] = Array.from(event.target.files ?? []);
    if (file) void worker.resumeWithFile(uploadId, file);
  };
  return (
    <li data-upload={uploadId} data-status={status}>
      <strong>{fileName}</strong> <progress max={100} value={session.progress} /> {session.progress}% {status}
      {progress?.speed !== undefined && running && ` at ${(progress.speed / MIB).toFixed(1)} MiB/s`}
      {progress?.estimatedTimeRemaining !== undefined &&
        running &&
        `, ${progress.estimatedTimeRemaining} s left`}{' '}
      {running && (
        <button type="button" onClick={() => worker.pauseUpload(uploadId)}>
          Pause
        </button>
      )}
      {status === 'paused' && (
        <button type="button" onClick={() => worker.resumeUpload(uploadId)}>
          Resume
        </button>
      )}
      {status === 'failed' && session.error?.retryable && (
        <button type="button" onClick={() => worker.retryUpload(uploadId)}>
          Retry
        </button>
      )}
      {status === 'needs-file' &&
        (session.handle ? (
          <button type="button" onClick={() => worker.resumeUpload(uploadId)}>
            Allow reading and resume
          </button>
        ) : (
          <label>
            Pick the file again to resume: <input type="file" onChange={again} />
          </label>
        ))}
      {status === 'completed' ? (
        <button type="button" onClick={() => worker.removeUpload(uploadId)}>
          Remove
        </button>
      ) : (
        <button type="button" onClick={() => worker.cancelUpload(uploadId)}>
          Cancel
        </button>
      )}
      {status === 'completed' && <code> {session.s3Key}</code>}
      {error && <p role="alert">{error}</p>}
    </li>
  );
}

function hostName(host: UploadWorker['host']): string {
  if (host === 'shared') return 'a shared worker: uploads go on while you navigate';
  if (host === 'dedicated') return 'a worker of this tab: uploads resume on the next page';
  return host === 'main' ? 'this page: uploads resume on the next page' : 'starting';
}
