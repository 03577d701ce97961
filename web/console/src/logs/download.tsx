// Downloads the records that the filters find, up to 100,000, as NDJSON or CSV.

import { useEffect, useRef, useState } from 'preact/hooks';
import { type Problem, problemOf } from '../api.ts';
import { useSession } from '../context.ts';
import { count } from '../format.ts';
import { Dialog, Trouble } from '../ui/parts.tsx';
import { type Export, type Format, fetchAll, MAX_RECORDS } from './export.ts';
import { query } from './filters.ts';
import type { Question } from './page.tsx';

export function Download({ question, close }: { question: Question; close: () => void }) {
  const { client, app } = useSession();
  const [format, setFormat] = useState<Format>('ndjson');
  const [got, setGot] = useState<number>();
  const [ended, setEnded] = useState<Export>();
  const [problem, setProblem] = useState<Problem>();
  const aborting = useRef<AbortController>(undefined);
  // Another page, or the logout, ends it as well.
  useEffect(() => () => aborting.current?.abort(), []);
  const start = async (event: Event) => {
    event.preventDefault();
    setProblem(undefined);
    setGot(0);
    const stop = new AbortController();
    aborting.current = stop;
    try {
      const params = query(app, question.filters, Date.now());
      const found = await fetchAll(client, params, format, setGot, stop.signal);
      save(new Blob(found.parts, { type: TYPES[format] }), `${app ?? 'logs'}-${stamp()}.${format}`);
      setEnded(found);
    } catch (error) {
      if (!stop.signal.aborted) setProblem(problemOf(error));
      setGot(undefined);
    }
  };
  return (
    <Dialog title="Download these records" close={close}>
      <form onSubmit={start}>
        <fieldset class="scopes" disabled={got !== undefined}>
          <legend>Format</legend>
          {(['ndjson', 'csv'] as const).map((one) => (
            <label key={one} class="check">
              <input type="radio" name="format" checked={format === one} onChange={() => setFormat(one)} />
              <span>
                {one === 'ndjson'
                  ? 'NDJSON: every record whole, one a line'
                  : 'CSV: time, level, message, request id, context'}
              </span>
            </label>
          ))}
        </fieldset>
        <p class="muted">The newest {count(MAX_RECORDS)} records that the filters find, at most.</p>
        {got !== undefined && (
          <label class="field">
            <span aria-live="polite">
              {count(got)} records
              {ended?.complete && ended.skipped === 0 && ': all of them'}
              {ended?.complete === false &&
                ': as many as one download may have; narrow the range for the rest'}
              {ended !== undefined &&
                ended.skipped > 0 &&
                `. ${ended.skipped} blocks of records could not be read and are missing`}
            </span>
            <progress max={ended ? 1 : MAX_RECORDS} value={ended ? 1 : got} />
          </label>
        )}
        {problem && <Trouble problem={problem} />}
        <footer>
          <button type="button" class="button" onClick={close}>
            {ended ? 'Close' : 'Cancel'}
          </button>
          {!ended && (
            <button type="submit" class="button primary" disabled={got !== undefined}>
              Download
            </button>
          )}
        </footer>
      </form>
    </Dialog>
  );
}

const TYPES: Record<Format, string> = { ndjson: 'application/x-ndjson', csv: 'text/csv' };

const stamp = () => new Date().toISOString().slice(0, 19).replaceAll(':', '');

function save(content: Blob, name: string): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  // The browser has begun to read it by then.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
