/** One part by XMLHttpRequest: `fetch` does not tell how much of a body has been sent. */

import { retryAfterMs } from '../host/backoff.ts';
import type { Clock } from '../host/clock.ts';
import { Unreachable } from '../host/http.ts';
import type { PartAnswer, PutPart } from './ports.ts';

/** A part of which nothing has moved for so long is cut (ms). A slow line is no error. */
const STALL_MS = 120_000;

export function xhrPut(clock: Clock, stallMs = STALL_MS): PutPart {
  return ({ url, body, signal, onSent }) =>
    new Promise<PartAnswer>((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      const xhr = new XMLHttpRequest();
      let cancel = () => {};
      let stalled = false;
      const alive = () => {
        cancel();
        cancel = clock.after(stallMs, () => {
          stalled = true;
          xhr.abort();
        });
      };
      const abort = () => xhr.abort();
      const end = () => {
        cancel();
        signal.removeEventListener('abort', abort);
      };
      xhr.upload.onprogress = (event) => {
        alive();
        onSent(event.loaded);
      };
      xhr.onload = () => {
        end();
        resolve({
          status: xhr.status,
          // Not sent, or hidden by the bucket's CORS rules: both are `null`.
          etag: xhr.getResponseHeader('etag'),
          retryAfterMs: retryAfterMs(xhr.getResponseHeader('retry-after'), clock.now()),
        });
      };
      xhr.onerror = () => {
        end();
        reject(new Unreachable('the connection to S3 was cut'));
      };
      xhr.onabort = () => {
        end();
        reject(stalled ? new Unreachable(`nothing moved for ${stallMs / 1000} s`) : signal.reason);
      };
      signal.addEventListener('abort', abort, { once: true });
      xhr.open('PUT', url);
      // Firefox parses an answer without a type as XML, and complains.
      xhr.responseType = 'text';
      alive();
      // A slice of a typed file has no type: the signed URL allows no Content-Type of its own.
      xhr.send(body);
    });
}
