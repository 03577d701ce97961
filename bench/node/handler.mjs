// The usual handler for gzipped log files, as a program: gunzip, JSON.parse each line, one item per record,
// BatchWriteItem requests of 25 items through the AWS SDK. No request leaves the process. `--plain` leaves the
// SDK out: its own marshalling, and the request's body as JSON.
//
// node handler.mjs [--plain] FILE prints {records, raw_bytes, cpu_secs, wall_secs, peak_kib}.
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';

const ITEMS_PER_REQUEST = 25;
const TABLE = 'logs';

/** Marshals a value as `@aws-sdk/util-dynamodb` does, for what JSON has. */
function attribute(value) {
  if (value === null) return { NULL: true };
  if (typeof value === 'string') return { S: value };
  if (typeof value === 'number') return { N: String(value) };
  if (typeof value === 'boolean') return { BOOL: value };
  if (Array.isArray(value)) return { L: value.map(attribute) };
  return { M: attributes(value) };
}

function attributes(object) {
  return Object.fromEntries(Object.entries(object).map(([name, value]) => [name, attribute(value)]));
}

function plainWriter() {
  let bytes = 0;
  return async (items) => {
    const requests = items.map((item) => ({ PutRequest: { Item: attributes(item) } }));
    bytes += JSON.stringify({ RequestItems: { [TABLE]: requests } }).length;
    return bytes;
  };
}

async function sdkWriter() {
  const { BatchWriteItemCommand, DynamoDBClient } = await import('@aws-sdk/client-dynamodb');
  const { marshall } = await import('@aws-sdk/util-dynamodb');
  const { Readable } = await import('node:stream');
  const client = new DynamoDBClient({
    region: 'eu-west-1',
    credentials: { accessKeyId: 'id', secretAccessKey: 'secret' },
    requestHandler: {
      handle: async () => ({
        response: { statusCode: 200, headers: {}, body: Readable.from([Buffer.from('{}')]) },
      }),
    },
  });
  return async (items) => {
    const requests = items.map((item) => ({ PutRequest: { Item: marshall(item) } }));
    await client.send(new BatchWriteItemCommand({ RequestItems: { [TABLE]: requests } }));
  };
}

async function ingest(gzip, write) {
  const raw = gunzipSync(gzip);
  let items = [];
  let records = 0;
  for (const line of raw.toString('utf8').split('\n')) {
    if (line === '') continue;
    const entry = JSON.parse(line);
    items.push({ pk: `bench#${entry.time}`, sk: String(records), ...entry, rawData: line });
    records += 1;
    if (items.length === ITEMS_PER_REQUEST) {
      await write(items);
      items = [];
    }
  }
  if (items.length > 0) await write(items);
  return { records, raw_bytes: raw.length };
}

const plain = process.argv.includes('--plain');
const write = plain ? plainWriter() : await sdkWriter();
const gzip = readFileSync(process.argv.at(-1));
const [cpu, wall] = [process.cpuUsage(), performance.now()];
const read = await ingest(gzip, write);
const { user, system } = process.cpuUsage(cpu);
const figures = {
  cpu_secs: (user + system) / 1e6,
  wall_secs: (performance.now() - wall) / 1e3,
  peak_kib: process.resourceUsage().maxRSS,
};
console.log(JSON.stringify({ ...read, ...figures }));
