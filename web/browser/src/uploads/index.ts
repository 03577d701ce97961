/** `@logferry/browser/uploads` */

export { createUploads, type UploadEvent, Uploads } from './client.ts';
export { type UploadErrorCode, UploadFailure } from './errors.ts';
export {
  DEFAULT_UPLOAD_CONFIG,
  type FileSource,
  type StartOptions,
  type UploadError,
  type UploadedPart,
  type UploadProgress,
  type UploadSession,
  type UploadStatus,
  type UploadWorkerMessage,
  type UploadWorkerResponse,
} from './protocol.ts';
export type { UploadsOptions } from './settings.ts';
