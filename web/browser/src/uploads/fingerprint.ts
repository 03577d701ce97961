/**
 * Recognises a file when it is picked again: its size and three samples, not its name, which a
 * rename changes, nor all its bytes, which take too long for large files.
 */

import { hex } from '../host/clock.ts';

const SAMPLE_BYTES = 64 * 1024;

/**
 * SHA-256 over the size and the first, middle and last 64 KiB, as hex. Name and time of change where the page
 * is no secure context and has no WebCrypto.
 */
export async function fingerprint(file: File): Promise<string> {
  const { size, name, lastModified } = file;
  const subtle = crypto.subtle as SubtleCrypto | undefined;
  if (!subtle) return `${name}|${lastModified}`;
  const offsets = [0, Math.floor(size / 2), Math.max(0, size - SAMPLE_BYTES)];
  const samples = offsets.map((offset) => file.slice(offset, offset + SAMPLE_BYTES).arrayBuffer());
  const bytes = await new Blob([`${size}:`, ...(await Promise.all(samples))]).arrayBuffer();
  return hex(new Uint8Array(await subtle.digest('SHA-256', bytes)));
}

export interface FileFacts {
  fileSize: number;
  fingerprint: string;
}

/** In what the two files differ; `null` if they are the same. */
export function difference(known: FileFacts, picked: FileFacts): string | null {
  if (known.fileSize !== picked.fileSize) {
    return `it has ${picked.fileSize} bytes instead of ${known.fileSize}`;
  }
  return known.fingerprint === picked.fingerprint ? null : 'its content differs';
}
