/**
 * Recognises a file when it is picked again: its size and three samples, not its name, which a
 * rename changes, nor all its bytes, which take too long for large files.
 */

const SAMPLE_BYTES = 64 * 1024;

/**
 * SHA-256 over the size and the first, middle and last 64 KiB, as hex. Empty where the page is no
 * secure context and has no WebCrypto; then name and time of change decide.
 */
export async function fingerprint(file: Blob): Promise<string> {
  const subtle = globalThis.crypto?.subtle;
  if (!subtle) return '';
  const offsets = [0, Math.floor(file.size / 2), Math.max(0, file.size - SAMPLE_BYTES)];
  const samples = offsets.map((offset) => file.slice(offset, offset + SAMPLE_BYTES).arrayBuffer());
  const bytes = await new Blob([`${file.size}:`, ...(await Promise.all(samples))]).arrayBuffer();
  const digest = new Uint8Array(await subtle.digest('SHA-256', bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

export interface FileFacts {
  fileName: string;
  fileSize: number;
  lastModified: number;
  fingerprint: string;
}

/** In what the two files differ; `null` if they are the same. */
export function difference(known: FileFacts, picked: FileFacts): string | null {
  if (known.fileSize !== picked.fileSize) {
    return `it has ${picked.fileSize} bytes instead of ${known.fileSize}`;
  }
  if (known.fingerprint && picked.fingerprint) {
    return known.fingerprint === picked.fingerprint ? null : 'its content differs';
  }
  if (known.fileName !== picked.fileName) return 'its name differs';
  return known.lastModified === picked.lastModified ? null : 'it was modified';
}
