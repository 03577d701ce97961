/** `@logferry/browser/react` */

export { configureUploads, type UploadWorker, useUploadWorker } from './use-upload-worker.ts';
