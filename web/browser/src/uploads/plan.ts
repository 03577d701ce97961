/**
 * How a file is divided. All parts but the last have one size, from 5 MiB: S3's rule
 * (https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html).
 */

const MIB = 1024 * 1024;

/** The smallest part that is not the last (bytes), and the most parts of one upload. */
export const MIN_PART_BYTES = 5 * MIB;
export const MAX_PARTS = 10_000;

export interface Part {
  number: number;
  offset: number;
  size: number;
}

export function plan(fileSize: number, partSize: number): Part[] {
  const parts: Part[] = [];
  for (let offset = 0; offset < fileSize; offset += partSize) {
    parts.push({ number: parts.length + 1, offset, size: Math.min(partSize, fileSize - offset) });
  }
  return parts;
}

/**
 * The part size of a new session: the caller's if it names one, else the service's. A limited upload
 * takes the smallest, because a limit is kept by waiting between parts.
 */
export function choosePartSize(fileSize: number, service: number, wanted: number, limited: boolean): number {
  const fewest = Math.ceil(fileSize / MAX_PARTS);
  if (limited && fewest <= MIN_PART_BYTES) return MIN_PART_BYTES;
  if (wanted > 0) return Math.max(wanted, MIN_PART_BYTES, fewest);
  return Math.max(service, MIN_PART_BYTES, fewest);
}

export interface StoredPart {
  number: number;
  etag: string;
  size: number;
}

/** What S3 has of the plan. A part of another size is sent again. */
export function fitting(parts: Part[], stored: StoredPart[]): Map<number, string> {
  const fits = stored.filter((part) => parts[part.number - 1]?.size === part.size);
  return new Map(fits.map((part) => [part.number, part.etag]));
}
