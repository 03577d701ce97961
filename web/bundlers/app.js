// What every app does: a line and a file of 6 MiB, by whatever host starts; the title says how it went.
import { createLogger } from '@logferry/browser';
import { createUploads } from '@logferry/browser/uploads';

export async function run({ logWorker, uploadWorker } = {}) {
  const query = new URLSearchParams(location.search);
  const endpoint = query.get('api');
  const host = query.get('host') ?? 'auto';
  const getToken = () => 'good';
  try {
    const scope = { meetingId: 'm-1', attendeeId: 'a-1' };
    const logger = createLogger({ endpoint, getToken, scope, host, ...(logWorker && { worker: logWorker }) });
    logger.info('line 1');
    await logger.flush();
    const { host: logHost } = await logger.stats();
    const uploads = createUploads({
      endpoint,
      getToken,
      host,
      ...(uploadWorker && { worker: uploadWorker }),
    });
    const done = new Promise((resolve, reject) => {
      uploads.on('complete', resolve);
      uploads.on('error', ({ error }) => reject(new Error(error?.message ?? 'upload failed')));
    });
    await uploads.start(new File([new Uint8Array(6 * 1024 * 1024)], 'six.bin'));
    await done;
    document.title = `logged: ${logHost}, uploaded: ${uploads.host}`;
  } catch (error) {
    document.title = `failed: ${error.message}`;
  }
}
