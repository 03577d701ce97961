/**
 * Both workers as text, for bundlers that do not follow `new URL(…, import.meta.url)` (esbuild) and for CDNs.
 * Needs `worker-src blob:` in a content security policy.
 */

// Put in by scripts/build.mjs.
declare const LOG_WORKER_SOURCE: string;
declare const UPLOAD_WORKER_SOURCE: string;

export const logWorkerSource: string = LOG_WORKER_SOURCE;
export const uploadWorkerSource: string = UPLOAD_WORKER_SOURCE;

/** Starts the log worker: `createLogger({ worker: inlineLogWorker, … })`. */
export const inlineLogWorker = (): Worker => start(logWorkerSource);

/** Starts the upload worker: `createUploads({ worker: inlineUploadWorker, … })`. */
export const inlineUploadWorker = (): Worker => start(uploadWorkerSource);

function start(source: string): Worker {
  const url = URL.createObjectURL(new Blob([source], { type: 'text/javascript' }));
  const worker = new Worker(url);
  // The worker has fetched its script when it first answers or fails.
  const forget = () => URL.revokeObjectURL(url);
  worker.addEventListener('message', forget, { once: true });
  worker.addEventListener('error', forget, { once: true });
  return worker;
}
