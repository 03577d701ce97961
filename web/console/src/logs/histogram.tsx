// How many records there are over the range, by level. Dragging over the bars narrows the range.

import { useEffect, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';
import type { Client, Params } from '../api.ts';
import { useSession } from '../context.ts';
import { count } from '../format.ts';
import { useLoad, useNow } from '../hooks.ts';
import { bounds, full, parts, type Range } from '../time.ts';
import type { Counts } from '../types.ts';
import { useTheme } from '../ui/theme.ts';
import { type Filters, query } from './filters.ts';
import type { Question } from './page.tsx';
import { countEvery } from './tail.ts';

/** From the baseline up: errors are compared most easily there. */
const STACK = ['error', 'warn', 'info', 'debug'] as const;
type Name = (typeof STACK)[number];

const HEIGHT_PX = 96;
/** A day with very many records is counted in several requests (at most these). */
const MAX_REQUESTS = 8;

interface Bars {
  since: number;
  until: number;
  bucketMs: number;
  starts: number[];
  levels: Record<Name, number[]>;
  completeFrom: number | undefined;
}

export function Histogram({ question, round }: { question: Question; round: number }) {
  const { client, app } = useSession();
  const { filters, view, ask } = question;
  const beat = useNow(countEvery(filters.range));
  const open = filters.range.last === undefined && filters.range.since === undefined;
  const key = JSON.stringify([app, filters, round, view.live ? beat : 0]);
  const [bars, setBars] = useState<Bars>();
  const loaded = useLoad(key, async (signal) => {
    if (!open) await countAll(client, app, filters, Date.now(), setBars, signal);
  });
  if (open) return null;
  if (loaded.problem) {
    return (
      <div class="notice" role="status">
        The records could not be counted: {loaded.problem.message}
        <button type="button" class="button small" onClick={loaded.reload}>
          Count again
        </button>
      </div>
    );
  }
  const choose = (range: Range) => ask({ filters: { range }, view: { live: false } });
  return (
    <div class={`histogram ${loaded.loading ? 'loading-bars' : ''}`}>
      {bars ? <Chart bars={bars} utc={view.utc} choose={choose} /> : <div class="no-bars" />}
    </div>
  );
}

/** Counts the range, the newest part first, and shows each part as it arrives. */
async function countAll(
  client: Client,
  app: string | undefined,
  filters: Filters,
  now: number,
  show: (bars: Bars) => void,
  signal: AbortSignal,
): Promise<void> {
  const { since = now, until = now } = bounds(filters.range, now);
  const params: Params = { ...query(app, filters, now), since, until: Math.max(until, since + 1) };
  let bars: Bars | undefined;
  for (let n = 0; n < MAX_REQUESTS; n++) {
    const part = await client.get<Counts>('logs/counts', params, signal);
    bars = added(bars, part, since, Math.max(until, since + 1));
    if (signal.aborted) return;
    show(bars);
    // Without progress, one answer cannot count what the range begins with.
    if (part.complete_from === null || part.complete_from === params.until) return;
    params.until = part.complete_from;
    params.bucket_ms = part.bucket_ms;
  }
}

/** Counts of an earlier part of the range, added to those of the later ones. */
export function added(bars: Bars | undefined, part: Counts, since: number, until: number): Bars {
  const { bucket_ms: bucketMs } = part;
  const sum = bars ?? empty(since, until, bucketMs);
  const places = new Map(sum.starts.map((start, n) => [start, n]));
  const levels = { ...sum.levels };
  for (const name of STACK) levels[name] = [...levels[name]];
  for (const bucket of part.buckets) {
    const at = places.get(Date.parse(bucket.start));
    if (at === undefined) continue;
    for (const name of STACK) levels[name][at] = (levels[name][at] ?? 0) + bucket[name];
  }
  const completeFrom = part.complete_from === null ? undefined : Date.parse(part.complete_from);
  return { ...sum, levels, completeFrom };
}

function empty(since: number, until: number, bucketMs: number): Bars {
  const starts: number[] = [];
  for (let at = Math.floor(since / bucketMs) * bucketMs; at < until; at += bucketMs) starts.push(at);
  const none = () => starts.map(() => 0);
  const levels = { error: none(), warn: none(), info: none(), debug: none() };
  return { since, until, bucketMs, starts, levels, completeFrom: undefined };
}

function Chart({ bars, utc, choose }: { bars: Bars; utc: boolean; choose: (range: Range) => void }) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(undefined);
  const latest = useRef({ bars, utc, choose });
  latest.current = { bars, utc, choose };
  const [over, setOver] = useState<number>();
  const theme = useTheme();
  // Colours are read when the chart is made.
  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const made = make(element, latest, setOver);
    plot.current = made;
    const sized = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height: HEIGHT_PX }));
    sized.observe(element);
    return () => {
      sized.disconnect();
      made.destroy();
    };
  }, [theme]);
  useEffect(() => plot.current?.setData(stacked(bars)), [bars]);
  useEffect(() => plot.current?.redraw(false, true), [utc]);
  const totals = STACK.map((name) => bars.levels[name].reduce((sum, n) => sum + n, 0));
  const all = totals.reduce((sum, n) => sum + n, 0);
  const said = `${count(all)} records in this range: ${STACK.map((name, n) => `${count(totals[n] ?? 0)} ${name}`).join(', ')}`;
  const start = over === undefined ? undefined : bars.starts[over];
  return (
    <>
      <div ref={box} class="plot" role="img" aria-label={said} />
      <p class="plot-note" aria-hidden="true">
        {start !== undefined && over !== undefined ? (
          <>
            <span>
              {full(start, utc).slice(5, 19)} – {parts(start + bars.bucketMs, utc).time}
            </span>
            {STACK.map(
              (name) =>
                (bars.levels[name][over] ?? 0) > 0 && (
                  <span key={name}>
                    <i class={`fill-${name}`} /> {count(bars.levels[name][over] ?? 0)} {name}
                  </span>
                ),
            )}
          </>
        ) : (
          <>
            <span>{count(all)} records</span>
            {STACK.map(
              (name, n) =>
                (totals[n] ?? 0) > 0 && (
                  <span key={name}>
                    <i class={`fill-${name}`} /> {count(totals[n] ?? 0)} {name}
                  </span>
                ),
            )}
            {bars.completeFrom !== undefined && (
              <span class="muted">counted from {full(bars.completeFrom, utc).slice(5, 16)} on</span>
            )}
          </>
        )}
      </p>
    </>
  );
}

/** One line per level, each on top of those below it; the highest is drawn first. Times in seconds. */
function stacked(bars: Bars): uPlot.AlignedData {
  const sums: number[][] = [];
  for (const name of STACK) {
    const below = sums.at(-1);
    sums.push(bars.levels[name].map((n, at) => n + (below?.[at] ?? 0)));
  }
  return [bars.starts.map((start) => start / 1_000), ...sums.reverse()];
}

function make(
  element: HTMLElement,
  latest: { current: { bars: Bars; utc: boolean; choose: (range: Range) => void } },
  setOver: (at: number | undefined) => void,
): uPlot {
  const css = getComputedStyle(document.documentElement);
  const colour = (name: string) => css.getPropertyValue(name).trim();
  const drawn = uPlot.paths.bars?.({ size: [0.86, 80], align: 1 });
  const series = [...STACK].reverse().map((name) => ({
    fill: colour(`--fill-${name}`),
    width: 0,
    points: { show: false },
    ...(drawn && { paths: drawn }),
  }));
  const { bars } = latest.current;
  const time = (seconds: number) => {
    const { bars: shown, utc } = latest.current;
    const { date, time: clock } = parts(seconds * 1_000, utc);
    return shown.until - shown.since > 36 * 3_600_000 ? date.slice(5) : clock.slice(0, 5);
  };
  const axis = { stroke: colour('--muted'), font: '11px system-ui, sans-serif', ticks: { show: false } };
  const options: uPlot.Options = {
    width: element.clientWidth,
    height: HEIGHT_PX,
    padding: [6, 0, 0, 0],
    legend: { show: false },
    cursor: { y: false, points: { show: false }, drag: { x: true, y: false, setScale: false } },
    scales: {
      x: { time: true, range: () => [latest.current.bars.since / 1_000, latest.current.bars.until / 1_000] },
      y: { range: (_, __, most) => [0, Math.max(1, most)] },
    },
    axes: [
      { ...axis, size: 20, gap: 2, grid: { show: false }, space: 70, values: (_, all) => all.map(time) },
      {
        ...axis,
        size: 44,
        gap: 4,
        space: 26,
        grid: { stroke: colour('--line'), width: 1 },
        values: (_, all) => all.map((n) => (Number.isInteger(n) ? short(n) : '')),
      },
    ],
    series: [{}, ...series],
    hooks: {
      setCursor: [(u) => setOver(under(u))],
      setSelect: [
        (u) => {
          const { left, width } = u.select;
          if (width < 3) return;
          const [from, to] = [u.posToVal(left, 'x'), u.posToVal(left + width, 'x')];
          u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          narrow(Math.floor(from * 1_000), Math.ceil(to * 1_000));
        },
      ],
      ready: [
        (u) => {
          // A click without a drag chooses the bar below it.
          u.over.addEventListener('click', () => {
            const at = under(u);
            const start = at === undefined ? undefined : latest.current.bars.starts[at];
            if (start !== undefined) narrow(start, start + latest.current.bars.bucketMs);
          });
        },
      ],
    },
  };
  const under = (u: uPlot): number | undefined => {
    const left = u.cursor.left ?? -1;
    if (left < 0) return undefined;
    const { starts, bucketMs } = latest.current.bars;
    const at = Math.floor((u.posToVal(left, 'x') * 1_000 - (starts[0] ?? 0)) / bucketMs);
    return at >= 0 && at < starts.length ? at : undefined;
  };
  const narrow = (since: number, until: number) => latest.current.choose({ since, until });
  return new uPlot(options, stacked(bars), element);
}

function short(n: number): string {
  if (n >= 1e6) return `${n / 1e6}M`;
  return n >= 1e3 ? `${n / 1e3}k` : String(n);
}
