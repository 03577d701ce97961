'use client';

import { createLogger } from '@logferry/browser';
import { useUploadWorker } from '@logferry/browser/react';
import { useEffect, useRef, useState } from 'react';

const token = async (kind) => (await (await fetch(`/tokens/${kind}`, { method: 'POST' })).json()).token;

export function Demo() {
  const [endpoint, setEndpoint] = useState();
  useEffect(() => {
    fetch('/config')
      .then((answer) => answer.json())
      .then((config) => setEndpoint(config.endpoint));
  }, []);
  return endpoint ? (
    <>
      <Logs endpoint={endpoint} />
      <Uploads endpoint={endpoint} />
    </>
  ) : null;
}

function Logs({ endpoint }) {
  const logger = useRef(null);
  const [said, setSaid] = useState('');
  useEffect(() => {
    const scope = { meetingId: 'demo', attendeeId: 'visitor' };
    const made = createLogger({ endpoint, scope, getToken: () => token('join') });
    logger.current = made;
    return () => {
      made.destroy();
    };
  }, [endpoint]);
  const submit = async (event) => {
    event.preventDefault();
    logger.current.info(event.currentTarget.elements.message.value);
    const { uploaded } = await logger.current.flush();
    setSaid(`${uploaded} lines uploaded`);
  };
  return (
    <form onSubmit={submit}>
      <label>
        Message <input name="message" defaultValue="hello from Next" />
      </label>
      <button type="submit">Log and upload</button>
      <p>
        <output>{said}</output>
      </p>
    </form>
  );
}

const getUploadToken = () => token('upload');

function Uploads({ endpoint }) {
  const { startUpload, uploadProgress, activeUploads, uploadErrors } = useUploadWorker({
    endpoint,
    getToken: getUploadToken,
  });
  return (
    <>
      <p>
        <label>
          File <input type="file" onChange={({ currentTarget }) => startUpload(currentTarget.files[0])} />
        </label>
      </p>
      <ul>
        {[...activeUploads].map(([id, { fileName, status }]) => (
          <li key={id}>
            {fileName}: {status}, {uploadProgress.get(id)?.progress ?? 0} % {uploadErrors.get(id)}
          </li>
        ))}
      </ul>
    </>
  );
}
