/** The lines of tests/fixtures/browser, which the tests of ingest read: what the package writes and the service reads is one. */

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import test from 'node:test';
import { type Entry, line } from '../../src/logs/format.ts';

const fixture = (name: string) => new URL(`../../../../tests/fixtures/browser/${name}`, import.meta.url);

for (const [format, name] of [
  ['ndjson', 'lines.ndjson'],
  ['text', 'lines.txt'],
] as const) {
  test(`21 the lines in ${name} are those that the package makes now`, () => {
    const entries = JSON.parse(readFileSync(fixture('logged.json'), 'utf8')) as Entry[];
    const lines = entries.map((entry) => `${line(entry, format, 256 * 1024, null)}\n`).join('');
    if (process.env.LOGFERRY_GOLDEN === 'write') writeFileSync(fixture(name), lines);
    const kept = readFileSync(fixture(name), 'utf8');
    assert.equal(kept, lines, 'LOGFERRY_GOLDEN=write rewrites the file: review and commit it');
  });
}
