/** Reads an object of the stack's bucket, signed with the stack's own keys. */

import { createHash, createHmac } from 'node:crypto';
import { readStack } from './stack.ts';

const hash = (text: string | Buffer) => createHash('sha256').update(text).digest('hex');
const hmac = (key: string | Buffer, text: string) => createHmac('sha256', key).update(text).digest();

/** The SHA-256 of the object's bytes. */
export async function sha256OfObject(key: string): Promise<string> {
  const [endpoint, bucket, keyId, secret, region] = readStack(
    'AWS_ENDPOINT_URL',
    'BUCKET',
    'AWS_ACCESS_KEY_ID',
    'AWS_SECRET_ACCESS_KEY',
    'AWS_REGION',
  );
  const url = new URL(`${endpoint}/${bucket}/${key}`);
  const time = `${new Date().toISOString().replace(/[-:]|\.\d+/g, '')}`;
  const day = time.slice(0, 8);
  const scope = `${day}/${region}/s3/aws4_request`;
  const empty = hash('');
  const headers = { host: url.host, 'x-amz-content-sha256': empty, 'x-amz-date': time };
  const names = Object.keys(headers).join(';');
  const lines = Object.entries(headers).map(([name, value]) => `${name}:${value}\n`);
  const request = ['GET', url.pathname, '', lines.join(''), names, empty].join('\n');
  const signed = ['AWS4-HMAC-SHA256', time, scope, hash(request)].join('\n');
  const signing = hmac(hmac(hmac(hmac(`AWS4${secret}`, day), region), 's3'), 'aws4_request');
  const signature = createHmac('sha256', signing).update(signed).digest('hex');
  const authorization = `AWS4-HMAC-SHA256 Credential=${keyId}/${scope}, SignedHeaders=${names}, Signature=${signature}`;
  const { host: _, ...sent } = headers;
  const answer = await fetch(url, { headers: { ...sent, authorization } });
  if (!answer.ok) throw new Error(`GET of the object: ${answer.status} ${await answer.text()}`);
  return hash(Buffer.from(await answer.arrayBuffer()));
}
