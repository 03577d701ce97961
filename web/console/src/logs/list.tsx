// The records as a long list, of which the rows in view are in the page.

import type { ComponentChildren, Ref } from 'preact';
import { useCallback, useEffect, useImperativeHandle, useRef, useState } from 'preact/hooks';
import { useVirtual } from '../hooks.ts';
import { placeOf } from './one.ts';
import type { Question } from './page.tsx';
import { RecordRow } from './row.tsx';
import { idOf, type Row } from './store.ts';

export interface ListHandle {
  move: (by: 1 | -1) => void;
  toggle: () => void;
  context: () => void;
  toTop: () => void;
}

interface Props {
  handle: Ref<ListHandle>;
  rows: readonly Row[];
  question: Question;
  showApp: boolean;
  live: boolean;
  atEnd?: () => void;
  footer: ComponentChildren;
  /** A row to begin at. */
  start?: string;
}

const ROW_PX = 28;
/** How far from the top the list still follows new records (pixels). */
const TOP_PX = 40;
/** Rows before the end at which older records are asked for. */
const NEAR_END = 30;

export const keyOf = (row: Row) => idOf(row.record);

export function List({ handle, rows, question, showApp, live, atEnd, footer, start }: Props) {
  const scroller = useRef<HTMLElement>(null);
  const [open, setOpen] = useState<ReadonlySet<string>>(() => new Set(start === undefined ? [] : [start]));
  const [selected, setSelected] = useState<string | undefined>(start);
  const [held, setHeld] = useState<readonly Row[]>();

  // Below the top, new records of the live tail wait, so that nothing moves under the reader's eyes. Older
  // records are added at once.
  const shown = held && live ? withOlder(held, rows) : rows;
  const waiting = rows.length - shown.length;

  const virtual = useVirtual({
    count: shown.length,
    estimate: ROW_PX,
    scroller: () => scroller.current,
    keyOf: useCallback((index: number) => keyOf(shown[index] as Row), [shown]),
  });
  const items = virtual.getVirtualItems();
  const last = items.at(-1)?.index ?? 0;
  useEffect(() => {
    if (shown.length && last >= shown.length - NEAR_END) atEnd?.();
  }, [last, shown.length, atEnd]);

  const latestRows = useRef(rows);
  latestRows.current = rows;
  useEffect(() => {
    const element = scroller.current;
    if (!element || !live) {
      setHeld(undefined);
      return;
    }
    const scrolled = () => {
      const away = element.scrollTop > TOP_PX;
      setHeld((before) => (away ? (before ?? latestRows.current) : undefined));
    };
    element.addEventListener('scroll', scrolled, { passive: true });
    return () => element.removeEventListener('scroll', scrolled);
  }, [live]);

  useEffect(() => {
    if (start === undefined) return;
    const at = rows.findIndex((row) => keyOf(row) === start);
    if (at >= 0) virtual.scrollToIndex(at, { align: 'center' });
    // Once, where it begins.
  }, [start]);

  const toggle = useCallback((key: string) => {
    setSelected(key);
    setOpen((before) => {
      const next = new Set(before);
      if (!next.delete(key)) next.add(key);
      return next;
    });
  }, []);
  const toTop = () => {
    setHeld(undefined);
    scroller.current?.scrollTo({ top: 0 });
  };
  useImperativeHandle(handle, () => ({
    move(by) {
      const at = shown.findIndex((row) => keyOf(row) === selected);
      const next = at < 0 ? (items[0]?.index ?? 0) : Math.min(shown.length - 1, Math.max(0, at + by));
      const row = shown[next];
      if (!row) return;
      setSelected(keyOf(row));
      virtual.scrollToIndex(next, { align: 'auto' });
    },
    toggle() {
      if (selected !== undefined) toggle(selected);
    },
    context() {
      const row = shown.find((one) => keyOf(one) === selected);
      if (row) question.ask({ view: { record: placeOf(row.ms, row.record), live: false } });
    },
    toTop,
  }));

  return (
    <section
      class={`list ${question.view.wrap ? 'wrap' : ''} ${showApp ? 'with-app' : ''}`}
      ref={scroller}
      tabIndex={0}
      aria-label="Records, newest first"
    >
      {waiting > 0 && (
        <button type="button" class="new-pill" onClick={toTop}>
          ↑ {waiting} new
        </button>
      )}
      <div class="rows" role="list" style={{ height: `${virtual.getTotalSize()}px` }}>
        {items.map((item) => {
          const row = shown[item.index] as Row;
          const key = keyOf(row);
          return (
            <RecordRow
              key={key}
              index={item.index}
              top={item.start}
              measure={virtual.measureElement}
              row={row}
              open={open.has(key)}
              selected={selected === key}
              toggle={toggle}
              question={question}
              showApp={showApp}
            />
          );
        })}
      </div>
      <div class="list-foot">{footer}</div>
    </section>
  );
}

/** The rows that were held, and those that have been added at the old end since. */
function withOlder(held: readonly Row[], rows: readonly Row[]): readonly Row[] {
  const oldest = held.at(-1);
  if (!oldest) return rows;
  const at = rows.lastIndexOf(oldest);
  // Trimmed away: the list has moved on.
  if (at < 0) return rows;
  return at === rows.length - 1 ? held : [...held, ...rows.slice(at + 1)];
}
