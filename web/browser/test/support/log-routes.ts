/** `POST` and `GET /presigned-url`, and S3's side of one log file. */

import { gunzipSync } from 'node:zlib';
import { type Call, error, type FaultServer, type Reply, reply } from './fault-server.ts';

/** The largest log file (bytes). */
export const MAX_BYTES = 10 * 1024 * 1024;

export function logRoutes(server: FaultServer, call: Call): Reply | null {
  switch (call.op) {
    case 'grant':
      return authorized(server, call) ?? grant(server, call);
    case 'status':
      return authorized(server, call) ?? status(server, call);
    case 'put':
      return put(server, call);
    case 'form':
      return form(server, call);
    default:
      return null;
  }
}

/** A 401 where there is no good token. */
export function authorized(server: FaultServer, call: Call): Reply | null {
  const token = call.headers.authorization?.replace(/^Bearer /, '');
  const good = token && !server.badTokens.has(token);
  return good ? null : error(401, 'UNAUTHORIZED', 'the token is invalid or has expired');
}

let granted = 0;

function grant(server: FaultServer, call: Call): Reply {
  const body = JSON.parse(call.body.toString() || '{}') as Record<string, string | number>;
  if (!body.meetingId || !body.attendeeId)
    return error(403, 'FORBIDDEN', 'meetingId and attendeeId are required');
  const length = body.contentLength;
  if (typeof length === 'number' && length > MAX_BYTES) return error(413, 'TOO_LARGE', 'too large');
  granted += 1;
  const id = `${ulidTime(Date.now())}${String(granted).padStart(16, '0')}`;
  const key = `chime-client-logs/us-east-1/000000000000/${body.meetingId}/${body.attendeeId}/${id}-logs.gz`;
  call.key = key;
  const url = new URL(`${server.api}/bucket/${key}`);
  url.searchParams.set('until', String(Date.now() + server.urlLifetimeMs));
  if (length !== undefined) url.searchParams.set('length', String(length));
  return reply(200, {
    presignedUrl: url.href,
    method: 'PUT',
    headers: { 'Content-Type': 'application/gzip' },
    key,
    expiresIn: Math.round(server.urlLifetimeMs / 1000),
    maxBytes: MAX_BYTES,
    post: {
      url: `${server.api}/bucket`,
      fields: {
        key,
        'Content-Type': 'application/gzip',
        policy: 'p'.repeat(1_200),
        'x-amz-signature': 's'.repeat(64),
      },
    },
  });
}

function status(server: FaultServer, call: Call): Reply {
  const key = call.url.searchParams.get('key') ?? '';
  call.key = key;
  const granted = server.calls.some((other) => other.op === 'grant' && other.key === key);
  if (!granted) return error(404, 'NOT_FOUND', 'no such key');
  const object = server.objects.get(key);
  const state = object ? 'COMPLETED' : 'PENDING';
  const counts = object ? { counts: { processed: linesOf(object.body).length, quarantined: 0 } } : {};
  return reply(200, { key, received: object !== undefined, status: state, expiresIn: 0, ...counts });
}

function put(server: FaultServer, call: Call): Reply {
  const key = decodeURIComponent(call.url.pathname.slice('/bucket/'.length));
  call.key = key;
  if (Number(call.url.searchParams.get('until')) < Date.now())
    return s3Error(403, 'AccessDenied', 'Request has expired');
  const length = call.url.searchParams.get('length');
  if (length !== null && Number(length) !== call.body.length) {
    return s3Error(403, 'SignatureDoesNotMatch', 'content-length');
  }
  if (call.headers['content-type'] !== 'application/gzip')
    return s3Error(403, 'SignatureDoesNotMatch', 'content-type');
  if (call.headers['if-none-match'] === '*' && server.objects.has(key)) {
    return s3Error(412, 'PreconditionFailed', 'the key exists');
  }
  store(server, key, call.body);
  return { status: 200, headers: { etag: '"log"' } };
}

function form(server: FaultServer, call: Call): Reply {
  const boundary = /boundary=(.+)$/.exec(call.headers['content-type'] ?? '')?.[1];
  const text = call.body.toString('latin1');
  const key = /name="key"\r\n\r\n([^\r]*)/.exec(text)?.[1];
  const file = /name="file"[\s\S]*?\r\n\r\n/.exec(text);
  if (!boundary || !key || !file) return s3Error(400, 'MalformedPOSTRequest', 'no key or no file');
  const begin = file.index + file[0].length;
  const end = text.lastIndexOf(`\r\n--${boundary}--`);
  call.key = key;
  store(server, key, call.body.subarray(begin, end));
  return { status: 204 };
}

function store(server: FaultServer, key: string, body: Buffer): void {
  const versions = (server.objects.get(key)?.versions ?? 0) + 1;
  server.objects.set(key, { body, contentType: 'application/gzip', versions });
}

export function linesOf(body: Buffer): string[] {
  const gzip = body[0] === 0x1f && body[1] === 0x8b;
  const text = (gzip ? gunzipSync(body) : body).toString('utf8');
  return text.split('\n').filter((line) => line !== '');
}

/** Every line of every stored log file, once per version of its key. */
export function storedLines(server: FaultServer): string[] {
  const logs = [...server.objects].filter(([key]) => key.startsWith('chime-client-logs/'));
  return logs.flatMap(([, { body, versions }]) => Array(versions).fill(linesOf(body)).flat() as string[]);
}

const s3Error = (status: number, code: string, message: string): Reply => ({
  status,
  headers: { 'content-type': 'application/xml' },
  body: `<Error><Code>${code}</Code><Message>${message}</Message></Error>`,
});

/** The first ten characters of a ULID, which are its time. */
export function ulidTime(ms: number): string {
  const digits = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
  let text = '';
  for (let rest = ms, at = 0; at < 10; at += 1, rest = Math.floor(rest / 32)) text = digits[rest % 32] + text;
  return text;
}
