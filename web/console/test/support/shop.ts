/** A shop's records of the last days, made to be looked at: for the screenshots and for trying things out. */

import { gzipSync } from 'node:zlib';
import { App, readStack, type Stack } from '../../../browser/test/support/stack.ts';

const HOUR_MS = 3_600_000;

/** The same numbers in every run. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

const ROUTES = [
  '/cart',
  '/checkout',
  '/products/17',
  '/products/4',
  '/login',
  '/search',
  '/orders',
  '/api/stock',
];
const USERS = ['ada', 'grace', 'linus', 'margaret', 'dennis', 'barbara', 'ken', 'radia'];

interface Entry {
  level: string;
  message: string;
  timestamp: string;
  request_id?: string;
  context?: unknown;
  hostname?: string;
}

/** Entries between two times, more of them in the middle of a day, and a wave of errors at one point. */
export function entries(since: number, until: number, perHour: number): Entry[] {
  const next = random(7);
  const found: Entry[] = [];
  const pick = <T>(from: readonly T[]): T => from[Math.floor(next() * from.length)] as T;
  const trouble = until - 2.2 * HOUR_MS;
  for (let at = since; at < until; ) {
    const hour = new Date(at).getUTCHours();
    const busy = 0.35 + Math.max(0, Math.sin(((hour - 5) / 24) * 2 * Math.PI));
    at += (next() * 2 * HOUR_MS) / (perHour * busy);
    const timestamp = new Date(at).toISOString();
    const request_id = `req-${Math.floor(next() * 1e9).toString(36)}`;
    const [route, user] = [pick(ROUTES), pick(USERS)];
    const ms = Math.round(8 + next() * next() * 400);
    const base = { timestamp, request_id, hostname: `web-${1 + Math.floor(next() * 3)}` };
    const wave = Math.abs(at - trouble) < 0.25 * HOUR_MS;
    const die = next() * (wave ? 0.12 : 1);
    if (die < 0.02) {
      found.push({
        ...base,
        level: 'error',
        message: `payment provider did not answer within 5000 ms\n    at Payments.charge (/app/src/payments.ts:88:15)\n    at Checkout.pay (/app/src/checkout.ts:41:22)`,
        context: {
          order: { id: 40_000 + Math.floor(next() * 999), total: 129.9, currency: 'EUR' },
          user,
          attempt: 3,
        },
      });
    } else if (die < 0.03) {
      found.push({
        ...base,
        level: 'error',
        message: `GET ${route} 500 in ${ms} ms`,
        context: { route, user, ms, status: 500 },
      });
    } else if (die < 0.09) {
      found.push({
        ...base,
        level: 'warn',
        message: `slow query: SELECT * FROM orders took ${ms * 9} ms`,
        context: { table: 'orders', ms: ms * 9, rows: 1_204 },
      });
    } else if (die < 0.11) {
      found.push({
        ...base,
        level: 'warn',
        message: `stock of product 17 is low: ${Math.floor(next() * 9)} left`,
        context: { product: 17 },
      });
    } else if (die < 0.3) {
      found.push({
        ...base,
        level: 'debug',
        message: `cache ${next() < 0.7 ? 'hit' : 'miss'} for user:${user}`,
        context: { user, cache: 'redis' },
      });
    } else {
      found.push({
        ...base,
        level: 'info',
        message: `GET ${route} 200 in ${ms} ms`,
        context: { route, user, ms, status: 200 },
      });
    }
  }
  return found;
}

/** Writes entries, at most 2,000 at a time and of at most a day. */
export async function write(app: App, all: Entry[]): Promise<void> {
  for (let n = 0; n < all.length; n += 2_000)
    await app.call('POST', '/logs', { logs: all.slice(n, n + 2_000) });
}

/** Uploads a log file as a service does. */
export async function upload(app: App, filename: string, body: Buffer): Promise<string> {
  const headers = { 'x-api-key': app.key, 'content-type': 'application/json' };
  const asked = await fetch(`${app.stack.api}/presigned-url`, {
    method: 'POST',
    headers,
    body: JSON.stringify({ filename }),
  });
  const { presignedUrl, key } = (await asked.json()) as { presignedUrl: string; key: string };
  const put = await fetch(presignedUrl, {
    method: 'PUT',
    headers: { 'content-type': 'application/gzip' },
    body: new Uint8Array(body),
  });
  if (!put.ok) throw new Error(`PUT ${filename}: ${put.status}`);
  return key;
}

/** A good file, one with bad records, and one that was cut off. */
export async function uploadFiles(app: App): Promise<string[]> {
  // In the last night, so that they do not cover the records of the day.
  const night = Date.now() - 19 * HOUR_MS;
  const line = (n: number) =>
    JSON.stringify({ level: 'info', msg: `nightly import, row ${n}`, time: night + n * 30_000 });
  const good = gzipSync(Array.from({ length: 300 }, (_, n) => line(n)).join('\n'));
  const mixed = Array.from({ length: 300 }, (_, n) =>
    n % 60 === 7 ? '{"level": "info", "msg": "broken' : line(n),
  );
  return [
    await upload(app, 'import-nightly.log.gz', good),
    await upload(app, 'worker-7.log.gz', gzipSync(mixed.join('\n'))),
    await upload(app, 'checkout-3.log.gz', good.subarray(0, good.length - 40)),
  ];
}

/** Invokes a function of the stack, whose name is in the stack's file. */
async function invoke(name: string, event: unknown): Promise<void> {
  const [endpoint, named] = readStack('AWS_ENDPOINT_URL', name);
  const answer = await fetch(`${endpoint}/2015-03-31/functions/${named}/invocations`, {
    method: 'POST',
    headers: { authorization: signed('lambda') },
    body: JSON.stringify(event),
  });
  const said = await answer.text();
  if (!answer.ok || said.includes('errorMessage')) throw new Error(`${name}: ${answer.status} ${said}`);
}

/** Runs the checks as the schedule would have run them at each of these times (ms). */
export async function runChecks(times: number[]): Promise<void> {
  for (const time of times) {
    const at = new Date(time).toISOString();
    await invoke('FN_HEALTH', {
      source: 'aws.events',
      'detail-type': 'Scheduled Event',
      time: at,
      detail: {},
    });
  }
}

/** Runs the sweep, which works on erasures, now. */
export const sweep = (): Promise<void> => invoke('FN_SWEEP', {});

/** The emulator takes any signature. */
const signed = (service: string) =>
  `AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/${service}/aws4_request, SignedHeaders=host, Signature=0`;

/** Makes an app look as if it had been registered earlier (ms): results of checks before its registration are not its
 * own. Records that are written before this are lost. */
export async function backdate(app: App, ms: number): Promise<void> {
  const [endpoint, table] = readStack('AWS_ENDPOINT_URL', 'TABLE_APPS');
  const answer = await fetch(endpoint, {
    method: 'POST',
    headers: {
      authorization: signed('dynamodb'),
      'content-type': 'application/x-amz-json-1.0',
      'x-amz-target': 'DynamoDB_20120810.UpdateItem',
    },
    body: JSON.stringify({
      TableName: table,
      Key: { pk: { S: `app#${app.id}` }, sk: { S: 'app' } },
      UpdateExpression: 'SET created_ms = :ms',
      ExpressionAttributeValues: { ':ms': { N: String(ms) } },
    }),
  });
  if (!answer.ok) throw new Error(`UpdateItem: ${answer.status} ${await answer.text()}`);
}

/** Registers an app with this id, or with a number after it if the id is taken. */
export async function register(stack: Stack, id: string, name: string): Promise<App> {
  for (let n = 1; ; n++) {
    const app_id = n === 1 ? id : `${id}-${n}`;
    const answer = await fetch(`${stack.api}/apps`, {
      method: 'POST',
      headers: { 'x-admin-key': stack.adminKey, 'content-type': 'application/json' },
      body: JSON.stringify({ app_id, name }),
    });
    if (answer.status === 409) continue;
    if (!answer.ok) throw new Error(`POST /apps: ${answer.status} ${await answer.text()}`);
    const { data } = (await answer.json()) as { data: { api_key: string } };
    return App.of(stack, app_id, data.api_key);
  }
}
