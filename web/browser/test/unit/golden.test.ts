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
    const kept = readFileSync(fixture(name), { encoding: 'utf8', flag: 'a+' });
    if (kept !== lines) writeFileSync(fixture(name), lines);
    assert.equal(kept, lines, 'the file was out of date and is rewritten: review and commit it');
  });
}
