// The question: search, levels, range of time, chips of other filters; and how records are shown.

import { useEffect, useRef, useState } from 'preact/hooks';
import { describe, fromInput, type Range, toInput, zone } from '../time.ts';
import { LEVELS, type Level } from '../types.ts';
import { Icon } from '../ui/icons.tsx';
import { IconButton, TimeField } from '../ui/parts.tsx';
import { clipped } from '../ui/tree.tsx';
import { type Condition, OPERATORS, said } from './filters.ts';
import type { Question } from './page.tsx';

const LASTS = ['15m', '1h', '6h', '24h', '7d', '30d'];
/** After the last key that is typed into the search (ms). */
const TYPING_MS = 350;

export function Toolbar({ question, setLive }: { question: Question; setLive: (on: boolean) => void }) {
  const { filters, view, ask } = question;
  const [marking, setMarking] = useState(view.highlight !== '');
  const toggle = (level: Level) => {
    const on = filters.levels.includes(level);
    const levels = LEVELS.filter((one) => (one === level ? !on : filters.levels.includes(one)));
    ask({ filters: { levels: levels.length === LEVELS.length ? [] : levels } });
  };
  return (
    <div class="toolbar" role="search" aria-label="Filters">
      <Search question={question} />
      <fieldset class="levels">
        <legend class="visually-hidden">Levels</legend>
        {[...LEVELS].reverse().map((level) => (
          <button
            key={level}
            type="button"
            class={`chip level-chip level-${level.toLowerCase()}`}
            aria-pressed={filters.levels.includes(level)}
            onClick={() => toggle(level)}
          >
            {level}
          </button>
        ))}
      </fieldset>
      <RangePicker question={question} />
      <AddCondition question={question} />
      <span class="tools">
        <button
          type="button"
          class={`button live ${view.live ? 'on' : ''}`}
          aria-pressed={view.live}
          title="Live tail (l)"
          onClick={() => setLive(!view.live)}
        >
          <Icon name={view.live ? 'pause' : 'play'} size={14} />
          Live
        </button>
        <IconButton
          icon="wrap"
          label="Wrap long lines (w)"
          pressed={view.wrap}
          onClick={() => ask({ view: { wrap: !view.wrap } }, true)}
        />
        <IconButton
          icon="marker"
          label="Highlight a text"
          pressed={marking}
          onClick={() => {
            setMarking(!marking);
            if (marking) ask({ view: { highlight: '' } }, true);
          }}
        />
      </span>
      {marking && (
        <label class="search highlight">
          <Icon name="marker" />
          <span class="visually-hidden">Highlight without filtering</span>
          <input
            type="text"
            placeholder="Highlight without filtering"
            spellcheck={false}
            autocomplete="off"
            autofocus
            value={view.highlight}
            onInput={(event) => ask({ view: { highlight: event.currentTarget.value } }, true)}
          />
        </label>
      )}
      <Chips question={question} />
    </div>
  );
}

function Search({ question: { filters, ask } }: { question: Question }) {
  const [text, setText] = useState(filters.search);
  const latest = useRef(ask);
  latest.current = ask;
  useEffect(() => setText(filters.search), [filters.search]);
  useEffect(() => {
    if (text === filters.search) return;
    const timer = setTimeout(() => latest.current({ filters: { search: text } }, true), TYPING_MS);
    return () => clearTimeout(timer);
  }, [text, filters.search]);
  return (
    <div class="search">
      <Icon name="search" />
      <input
        id="search"
        type="search"
        aria-label={filters.everywhere ? 'Search in entries' : 'Search in messages'}
        placeholder={filters.everywhere ? 'Search in entries' : 'Search in messages'}
        value={text}
        spellcheck={false}
        autocomplete="off"
        onInput={(event) => setText(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key === 'Escape') event.currentTarget.blur();
          if (event.key === 'Enter') ask({ filters: { search: text } });
        }}
      />
      <kbd>/</kbd>
      <button
        type="button"
        class="search-in"
        aria-pressed={filters.everywhere}
        title="Search in the whole entry, not in the message alone"
        onClick={() => ask({ filters: { everywhere: !filters.everywhere } })}
      >
        everywhere
      </button>
    </div>
  );
}

function RangePicker({ question: { filters, view, ask } }: { question: Question }) {
  const popover = usePopover();
  const choose = (range: Range) => {
    popover.close();
    ask({ filters: { range } });
  };
  return (
    <div class="range" ref={popover.box}>
      <button type="button" class="button" aria-expanded={popover.open} onClick={popover.toggle}>
        <Icon name="clock" size={14} />
        {describe(filters.range, view.utc)}
        <Icon name="down" size={12} />
      </button>
      {popover.open && (
        <div class="popover">
          <div class="range-lasts">
            {LASTS.map((last) => (
              <button
                key={last}
                type="button"
                class="button small"
                aria-pressed={filters.range.last === last}
                onClick={() => choose({ last })}
              >
                {describe({ last }, false)}
              </button>
            ))}
            <button type="button" class="button small" onClick={() => choose({})}>
              All time
            </button>
          </div>
          <Between range={filters.range} utc={view.utc} choose={choose} />
          <label class="check">
            <input
              type="checkbox"
              checked={view.utc}
              onChange={(event) => ask({ view: { utc: event.currentTarget.checked } }, true)}
            />
            <span>Show times in UTC (now {zone(view.utc)})</span>
          </label>
        </div>
      )}
    </div>
  );
}

/** Something below a button, closed by Escape and by a click elsewhere. */
function usePopover() {
  const [open, setOpen] = useState(false);
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!open) return;
    const outside = (event: Event) => {
      if (!box.current?.contains(event.target as Node)) setOpen(false);
    };
    const pressed = (event: KeyboardEvent) => event.key === 'Escape' && setOpen(false);
    document.addEventListener('pointerdown', outside);
    document.addEventListener('keydown', pressed);
    return () => {
      document.removeEventListener('pointerdown', outside);
      document.removeEventListener('keydown', pressed);
    };
  }, [open]);
  return { open, box, toggle: () => setOpen(!open), close: () => setOpen(false) };
}

/** A condition on a member of the records. A click on a value of a record makes one as well. */
function AddCondition({ question: { filters, ask } }: { question: Question }) {
  const popover = usePopover();
  const [path, setPath] = useState('');
  const [operator, setOperator] = useState<string>('=');
  const [value, setValue] = useState('');
  const bare = operator.endsWith('*');
  const submit = (event: Event) => {
    event.preventDefault();
    const wanted: Condition = [path.trim(), bare ? operator : `${operator}${value}`];
    ask({ filters: { fields: [...filters.fields, wanted] } });
    setValue('');
    popover.close();
  };
  return (
    <div class="range" ref={popover.box}>
      <button type="button" class="button" aria-expanded={popover.open} onClick={popover.toggle}>
        <Icon name="plus" size={14} /> Filter
      </button>
      {popover.open && (
        <div class="popover">
          <form class="between" onSubmit={submit}>
            <label class="field">
              <span>Member of the record</span>
              <input
                required
                autofocus
                placeholder="context.order.id, err.type, hostname"
                autocomplete="off"
                spellcheck={false}
                value={path}
                onInput={(event) => setPath(event.currentTarget.value)}
              />
            </label>
            <label class="field">
              <span>Condition</span>
              <select value={operator} onChange={(event) => setOperator(event.currentTarget.value)}>
                {OPERATORS.map(([one, words]) => (
                  <option key={one} value={one}>
                    {words}
                  </option>
                ))}
              </select>
            </label>
            {!bare && (
              <label class="field">
                <span>Value</span>
                <input
                  autocomplete="off"
                  spellcheck={false}
                  value={value}
                  onInput={(event) => setValue(event.currentTarget.value)}
                />
              </label>
            )}
            <button type="submit" class="button primary small">
              Add
            </button>
          </form>
        </div>
      )}
    </div>
  );
}

function Between({ range, utc, choose }: { range: Range; utc: boolean; choose: (range: Range) => void }) {
  const [since, setSince] = useState(toInput(range.since, utc));
  const [until, setUntil] = useState(toInput(range.until, utc));
  const submit = (event: Event) => {
    event.preventDefault();
    const [from, to] = [fromInput(since, utc), fromInput(until, utc)];
    choose({ ...(from !== undefined && { since: from }), ...(to !== undefined && { until: to }) });
  };
  return (
    <form class="between" onSubmit={submit}>
      <TimeField label="From" seconds value={since} change={setSince} />
      <TimeField label="To" seconds value={until} change={setUntil} />
      <button type="submit" class="button primary small">
        Show
      </button>
    </form>
  );
}

function Chips({ question: { filters, ask } }: { question: Question }) {
  const chips: { label: string; remove: () => void }[] = filters.fields.map((condition, at) => ({
    label: clipped(said(condition), 90),
    remove: () => ask({ filters: { fields: filters.fields.filter((_, n) => n !== at) } }),
  }));
  if (filters.requestId) {
    chips.unshift({
      label: `request_id is ${clipped(filters.requestId, 60)}`,
      remove: () => ask({ filters: { requestId: '' } }),
    });
  }
  if (!chips.length) return null;
  return (
    <ul class="chips" aria-label="Filters in force">
      {chips.map(({ label, remove }) => (
        <li key={label} class="chip">
          <span>{label}</span>
          <IconButton icon="close" label={`Remove ${label}`} onClick={remove} />
        </li>
      ))}
    </ul>
  );
}
