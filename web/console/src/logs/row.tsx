// A record: one line, and below it what it contains.

import { memo } from '../memo.ts';
import { full, parts } from '../time.ts';
import { Icon } from '../ui/icons.tsx';
import { LevelTag } from '../ui/parts.tsx';
import { LogText } from '../ui/text.tsx';
import { clipped } from '../ui/tree.tsx';
import { Detail } from './detail.tsx';
import { keyOf } from './list.tsx';
import type { Question } from './page.tsx';
import type { Row } from './store.ts';

/** Characters of a message that a closed row shows. */
const CLIP = 2_048;

interface Props {
  index: number;
  top: number;
  measure: (element: HTMLElement | null) => void;
  row: Row;
  open: boolean;
  selected: boolean;
  toggle: (key: string) => void;
  question: Question;
  showApp: boolean;
}

export const RecordRow = memo(function RecordRow(props: Props) {
  const { row, open, selected, question, toggle } = props;
  const { record, ms } = row;
  const { view, filters } = question;
  const { date, time, ms: fraction } = parts(ms, view.utc);
  const today = parts(Date.now(), view.utc).date === date;
  const words = [filters.search, view.highlight].filter(Boolean);
  const clicked = (event: MouseEvent) => {
    // A text that is being selected does not close its row.
    if ((event.target as HTMLElement).closest('button, a') || window.getSelection()?.toString()) return;
    toggle(keyOf(row));
  };
  return (
    <div
      role="listitem"
      ref={props.measure}
      data-index={props.index}
      class={`row row-${record.level.toLowerCase()} ${open ? 'open' : ''} ${selected ? 'selected' : ''}`}
      style={{ transform: `translateY(${props.top}px)` }}
    >
      {/* biome-ignore lint/a11y/useKeyWithClickEvents: the button in it does the same */}
      {/* biome-ignore lint/a11y/noStaticElementInteractions: the button in it does the same */}
      <div class="line" onClick={clicked}>
        <button
          type="button"
          class="expand"
          aria-expanded={open}
          aria-label={`Record of ${full(ms, view.utc)}`}
          onClick={() => toggle(keyOf(row))}
        >
          <Icon name={open ? 'down' : 'chevron'} size={12} />
        </button>
        <time class="time" dateTime={record.timestamp} title={full(ms, view.utc)}>
          {!today && <span class="date">{date.slice(5)} </span>}
          {time}
          <span class="ms">.{fraction}</span>
        </time>
        <LevelTag level={record.level} />
        {props.showApp && <span class="app-of">{record.app_id}</span>}
        <span class="message">
          {row.late && (
            <span class="late" title="It arrived after newer records">
              late
            </span>
          )}
          <LogText text={clipped(record.message, CLIP)} words={words} />
        </span>
      </div>
      {open && <Detail row={row} question={question} words={words} />}
    </div>
  );
});
