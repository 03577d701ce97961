/** Rows become files: compressed, of a size that the service takes, in one transaction. */

import { type Clock, newId } from '../host/clock.ts';
import { line } from './format.ts';
import { corrected } from './skew.ts';
import { type Batch, droppedTotal, type Store, type Usage } from './store.ts';
import type { DropReason } from './types.ts';

/** The most lines of one file, before compression (bytes). */
export const MAX_RAW_BYTES = 16 * 1024 * 1024;
/** The largest file that the service takes unless it has said otherwise (bytes). */
export const MAX_FILE_BYTES = 10 * 1024 * 1024;

export type Compress = (text: string) => Promise<ArrayBuffer>;

/** gzip, or the text as it is where the browser has no CompressionStream: the service reads both. */
export const compress: Compress = async (text) => {
  const blob = new Blob([text]);
  if (typeof CompressionStream === 'undefined') return blob.arrayBuffer();
  return new Response(blob.stream().pipeThrough(new CompressionStream('gzip'))).arrayBuffer();
};

/** The text of a sealed file. */
export async function decompress(data: ArrayBuffer): Promise<string> {
  const [first, second] = new Uint8Array(data);
  const blob = new Blob([data]);
  if (first !== 0x1f || second !== 0x8b) return blob.text();
  return new Response(blob.stream().pipeThrough(new DecompressionStream('gzip'))).text();
}

/** Seals the oldest rows into one batch; `false` if there are none. */
export async function sealNext(
  store: Store,
  scope: string,
  clock: Clock,
  maxFileBytes: number,
  compress: Compress,
  skewMs: number,
): Promise<boolean> {
  let maxRawBytes = MAX_RAW_BYTES;
  for (;;) {
    const rows = await store.rows(scope, maxRawBytes);
    const [first] = rows;
    if (!first) return false;
    const { dropped } = await store.usage(scope);
    const report = droppedTotal(dropped) > 0 ? `${droppedLine(dropped, first.format, clock.now())}\n` : '';
    const text = rows.map((row) => row.text).join('') + report;
    const data = await compress(skewMs ? corrected(text, skewMs, clock.now()) : text);
    const raw = rows.reduce((sum, row) => sum + row.bytes, 0);
    if (data.byteLength > maxFileBytes && rows.length > 1) {
      maxRawBytes = Math.floor(raw / 2);
      continue;
    }
    const batch: Batch = {
      id: newId(),
      scope,
      n: rows.reduce((sum, row) => sum + row.n, 0),
      bytes: data.byteLength,
      at: first.at,
      state: 'ready',
      refusals: 0,
      dropped: droppedTotal(dropped),
      ...(skewMs && { skewMs }),
    };
    const ids = rows.map((row) => row.id);
    if (await store.seal(ids, batch, data, dropped)) return true;
    // Another tab has sealed some of them: look again.
  }
}

function droppedLine(dropped: Usage['dropped'], format: 'ndjson' | 'text', now: number): string {
  const reasons = (Object.entries(dropped) as [DropReason, number][])
    .map(([why, n]) => `dropped ${n} entries (${why})`)
    .join(', ');
  return line({ time: now, level: 'WARN', message: `logferry: ${reasons}` }, format, 4_096, null);
}
