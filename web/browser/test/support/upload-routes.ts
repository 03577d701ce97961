/** Companion's multipart routes and S3's side of parts. */

import { createHash } from 'node:crypto';
import { type Call, error, type FaultServer, type Reply, reply } from './fault-server.ts';
import { authorized } from './log-routes.ts';

const MIB = 1024 * 1024;
const MIN_PART_BYTES = 5 * MIB;

export interface StoredPart {
  etag: string;
  size: number;
  body: Buffer;
  /** How many times it was sent and stored. */
  times: number;
}

export interface UploadSession {
  id: string;
  key: string;
  filename: string;
  type: string;
  size: number;
  metadata: Record<string, string>;
  status: 'OPEN' | 'COMPLETED' | 'ABORTED';
  parts: Map<number, StoredPart>;
}

/** The sessions of one fault server. */
export const sessionsOf = (server: FaultServer): Map<string, UploadSession> => {
  const known = sessions.get(server) ?? new Map<string, UploadSession>();
  sessions.set(server, known);
  return known;
};
const sessions = new WeakMap<FaultServer, Map<string, UploadSession>>();

/** The SHA-256 of a completed object. */
export function sha256Of(session: UploadSession): string {
  const hash = createHash('sha256');
  for (const number of [...session.parts.keys()].sort((a, b) => a - b))
    hash.update(session.parts.get(number)!.body);
  return hash.digest('hex');
}

export function uploadRoutes(server: FaultServer, call: Call): Reply | null {
  if (call.op === 'part') return part(server, call);
  if (!['create', 'list', 'batch', 'complete', 'abort'].includes(call.op)) return null;
  const refused = authorized(server, call);
  if (refused)
    return { ...refused, body: JSON.stringify({ error: 's3: the token is invalid or has expired' }) };
  if (call.op === 'create') return create(server, call);
  const id = decodeURIComponent(call.url.pathname.split('/')[3] ?? '');
  const session = sessionsOf(server).get(id);
  if (!session || session.key !== call.url.searchParams.get('key')) return refusal(404, 'no such upload');
  call.key = session.key;
  if (call.op === 'complete') return complete(server, call, session);
  if (call.op === 'abort') return abort(session);
  if (session.status !== 'OPEN') return refusal(404, 'no such upload');
  return call.op === 'list' ? list(session) : batch(server, call, session);
}

let created = 0;

function create(server: FaultServer, call: Call): Reply {
  const body = JSON.parse(call.body.toString()) as UploadSession;
  if (!body.size) return refusal(400, 'size must be at least 1');
  created += 1;
  const id = `upload-${created}`;
  const key = `uploads/app/user/${String(created).padStart(26, '0')}/${body.filename}`;
  call.key = key;
  const { filename, type, size, metadata } = body;
  sessionsOf(server).set(id, { id, key, filename, type, size, metadata, status: 'OPEN', parts: new Map() });
  const partSize = size < 100 * MIB ? 8 * MIB : size <= 1024 * MIB ? 16 * MIB : 32 * MIB;
  return reply(200, { key, uploadId: id, bucket: 'bucket', partSize });
}

function batch(server: FaultServer, call: Call, session: UploadSession): Reply {
  const list = (name: string) => (call.url.searchParams.get(name) ?? '').split(',').map(Number);
  const [numbers, sizes] = [list('partNumbers'), list('sizes')];
  const until = Date.now() + server.urlLifetimeMs;
  const presignedUrls: Record<string, string> = {};
  for (const [at, number] of numbers.entries()) {
    const size = sizes[at] ?? 0;
    if (number * size > session.size)
      return refusal(400, `part ${number} of ${size} bytes is beyond the file`);
    const url = new URL(`${server.api}/bucket/${session.key}`);
    url.searchParams.set('uploadId', session.id);
    url.searchParams.set('partNumber', String(number));
    url.searchParams.set('length', String(size));
    url.searchParams.set('until', String(until));
    presignedUrls[number] = url.href;
  }
  return reply(200, { presignedUrls });
}

function part(server: FaultServer, call: Call): Reply {
  const query = call.url.searchParams;
  const session = sessionsOf(server).get(query.get('uploadId') ?? '');
  if (Number(query.get('until')) < Date.now()) return s3Error(403, 'AccessDenied');
  if (session?.status !== 'OPEN') return s3Error(404, 'NoSuchUpload');
  if (call.headers['content-type']) return s3Error(403, 'SignatureDoesNotMatch');
  call.key = session.key;
  const { body, bodyBytes } = call;
  if (Number(query.get('length')) !== bodyBytes) return s3Error(403, 'SignatureDoesNotMatch');
  const number = Number(query.get('partNumber'));
  const etag = createHash('md5').update(body).digest('hex');
  const times = (session.parts.get(number)?.times ?? 0) + 1;
  session.parts.set(number, { etag, size: bodyBytes, body, times });
  return { status: 200, headers: { etag: `"${etag}"` } };
}

function list(session: UploadSession): Reply {
  const parts = [...session.parts].sort(([a], [b]) => a - b);
  return reply(
    200,
    parts.map(([PartNumber, { etag, size }]) => ({ PartNumber, ETag: `"${etag}"`, Size: size })),
  );
}

function complete(server: FaultServer, call: Call, session: UploadSession): Reply {
  const done = { location: `${server.api}/bucket/${session.key}`, key: session.key, bucket: 'bucket' };
  if (session.status === 'COMPLETED') return reply(200, done);
  if (session.status === 'ABORTED') return refusal(404, 'no such upload');
  const { parts } = JSON.parse(call.body.toString()) as { parts: { PartNumber: number; ETag: string }[] };
  const stored = [...session.parts.values()].reduce((bytes, { size }) => bytes + size, 0);
  const differs = parts.some(
    ({ PartNumber, ETag }) => session.parts.get(PartNumber)?.etag !== ETag.replaceAll('"', ''),
  );
  const last = Math.max(...session.parts.keys());
  const small = [...session.parts].some(([number, { size }]) => number !== last && size < MIN_PART_BYTES);
  if (differs || small || parts.length !== session.parts.size || stored !== session.size) {
    const body = {
      error: 's3: the upload is not complete',
      details: { storedBytes: stored, declaredBytes: session.size },
    };
    return reply(409, body);
  }
  session.status = 'COMPLETED';
  return reply(200, done);
}

function abort(session: UploadSession): Reply {
  if (session.status === 'COMPLETED') return refusal(409, 'the upload is already completed');
  session.status = 'ABORTED';
  session.parts.clear();
  return reply(200, {});
}

const refusal = (status: number, message: string): Reply => reply(status, { error: `s3: ${message}` });

const s3Error = (status: number, code: string): Reply => ({
  status,
  headers: { 'content-type': 'application/xml' },
  body: error(status, code, code).body ?? '',
});
