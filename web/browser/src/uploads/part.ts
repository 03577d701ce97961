/** One part by XMLHttpRequest: `fetch` does not tell how much of a body has been sent. */

import { retryAfterMs } from '../host/backoff.ts';
import type { Clock } from '../host/clock.ts';
import { Unreachable } from '../host/http.ts';
import type { PutPart } from './ports.ts';

/** A part of which nothing has moved for so long is cut (ms). A slow line is no error. */
const STALL_MS = 120_000;

export function xhrPut(clock: Clock): PutPart {
  return ({ url, body, signal, onSent }) =>
    new Promise((resolve, reject) => {
      signal.throwIfAborted();
      const xhr = new XMLHttpRequest();
      const abort = () => xhr.abort();
      let cancel = () => {};
      const alive = () => {
        cancel();
        cancel = clock.after(STALL_MS, abort);
      };
      xhr.upload.onprogress = ({ loaded }) => {
        alive();
        onSent(loaded);
      };
      xhr.onloadend = () => {
        cancel();
        signal.removeEventListener('abort', abort);
        const { status } = xhr;
        if (status) {
          // Not sent, or hidden by the bucket's CORS rules: both are `null`.
          const etag = xhr.getResponseHeader('etag');
          const wait = retryAfterMs(xhr.getResponseHeader('retry-after'), clock.now());
          resolve({ status, etag, retryAfterMs: wait });
        } else reject(signal.aborted ? signal.reason : new Unreachable('the connection to S3 was cut'));
      };
      signal.addEventListener('abort', abort);
      xhr.open('PUT', url);
      // Firefox parses an answer without a type as XML, and complains.
      xhr.responseType = 'text';
      alive();
      // A slice of a typed file has no type: the signed URL allows no Content-Type of its own.
      xhr.send(body);
    });
}
