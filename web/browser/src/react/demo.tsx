/** `@logferry/browser/react/demo` */

export { UploadWorkerDemo, type UploadWorkerDemoProps } from './upload-worker-demo.tsx';
