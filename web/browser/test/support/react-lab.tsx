/** The demo twice under StrictMode, and its first worker counted: bundled by the test. */

import { StrictMode, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { UploadWorkerDemo } from '../../src/react/upload-worker-demo.tsx';
import { useUploadWorker } from '../../src/react/use-upload-worker.ts';

const query = new URLSearchParams(location.search);
const options = {
  endpoint: query.get('api') ?? '',
  getToken: () => query.get('token') ?? 'token',
  worker: '/dist/upload-worker.js',
  host: (query.get('host') ?? 'auto') as 'auto',
};

/** The example of the first upload worker's README. */
function MyComponent() {
  const {
    startUpload,
    pauseUpload,
    resumeUpload,
    cancelUpload,
    activeUploads,
    uploadProgress,
    uploadErrors,
  } = useUploadWorker(options);
  const [started, setStarted] = useState('');

  const handleFileUpload = async (file: File | undefined) => {
    if (!file) return;
    const uploadId = await startUpload(file, 'project-123', 'videos/video.mp4');
    setStarted(uploadId ?? 'refused');
  };

  return (
    <div id="mine" data-started={started} data-errors={[...uploadErrors.values()].join('; ')}>
      <input type="file" onChange={(e) => handleFileUpload(e.target.files?.[0])} />
      {Array.from(activeUploads.entries()).map(([uploadId, session]) => (
        <div key={uploadId} className="upload" data-status={session.status} data-key={session.s3Key}>
          <p>
            {session.fileName} - {uploadProgress.get(uploadId)?.progress || 0}%
          </p>
          <button type="button" onClick={() => pauseUpload(uploadId)}>
            Pause
          </button>
          <button type="button" onClick={() => resumeUpload(uploadId)}>
            Resume
          </button>
          <button type="button" onClick={() => cancelUpload(uploadId)}>
            Cancel
          </button>
        </div>
      ))}
    </div>
  );
}

const root = document.createElement('div');
document.body.append(root);
createRoot(root).render(
  <StrictMode>
    <MyComponent />
    <UploadWorkerDemo {...options} />
  </StrictMode>,
);
