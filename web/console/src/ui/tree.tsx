// A value of a record as a tree. Members are shown a hundred at a time, so that the largest value is harmless.

import { useState } from 'preact/hooks';
import { Exact, write } from '../exact.ts';
import type { Json } from '../types.ts';
import { Icon } from './icons.tsx';
import { LogText } from './text.tsx';

const STEP = 100;
/** Characters of a value that are shown at first. */
const CLIP = 2_048;

interface Props {
  value: Json;
  path: string[];
  /** Filters on a value; undefined for paths that cannot be filtered on. */
  pick: ((path: string[], value: string) => (() => void) | undefined) | undefined;
}

const isNested = (value: Json): value is Json[] | { [key: string]: Json } =>
  value !== null && typeof value === 'object' && !(value instanceof Exact);

export function Tree({ value, path, pick }: Props) {
  const [shown, setShown] = useState(STEP);
  if (!isNested(value)) return <Leaf value={value} path={path} pick={pick} />;
  const members = Array.isArray(value)
    ? value.map((item, n) => [String(n), item] as const)
    : Object.entries(value);
  if (!members.length) return <span class="muted">{Array.isArray(value) ? '[]' : '{}'}</span>;
  return (
    <ul class="tree">
      {members.slice(0, shown).map(([name, item]) => (
        <Member key={name} name={name} value={item} path={[...path, name]} pick={pick} />
      ))}
      {members.length > shown && (
        <li>
          <button type="button" class="link" onClick={() => setShown(shown + STEP)}>
            {members.length - shown} more
          </button>
        </li>
      )}
    </ul>
  );
}

function Member({ name, value, path, pick }: Props & { name: string }) {
  const nested = isNested(value) && Object.keys(value).length > 0;
  const [open, setOpen] = useState(path.length < 3);
  const label = (
    <span class="tree-name" title={path.join('.')}>
      <LogText text={clipped(name, 200)} />
    </span>
  );
  if (!nested) {
    return (
      <li>
        {label} <Leaf value={value} path={path} pick={pick} />
      </li>
    );
  }
  return (
    <li>
      <button type="button" class="tree-toggle" aria-expanded={open} onClick={() => setOpen(!open)}>
        <Icon name={open ? 'down' : 'chevron'} size={12} />
        {label}
        {!open && (
          <span class="muted">
            {Array.isArray(value) ? `[${value.length}]` : `{${Object.keys(value).length}}`}
          </span>
        )}
      </button>
      {open && <Tree value={value} path={path} pick={pick} />}
    </li>
  );
}

function Leaf({ value, path, pick }: Props) {
  const text = typeof value === 'string' ? value : write(value);
  const kind = value === null ? 'null' : value instanceof Exact ? 'number' : typeof value;
  const filter = text.length <= 512 ? pick?.(path, text) : undefined;
  if (!filter) return <Clipped text={text} classes={`value value-${kind}`} />;
  return (
    <button
      type="button"
      class={`value value-${kind} pick`}
      title={`Filter: ${path.join('.')}=${text}`}
      onClick={filter}
    >
      <LogText text={text} />
    </button>
  );
}

export function clipped(text: string, length: number): string {
  return text.length > length ? `${text.slice(0, length)}…` : text;
}

/** A text that is shown in steps if it is long. */
export function Clipped(props: { text: string; classes: string; words?: string[]; first?: number }) {
  const [length, setLength] = useState(props.first ?? CLIP);
  const rest = props.text.length - length;
  return (
    <span class={props.classes}>
      <LogText text={rest > 0 ? props.text.slice(0, length) : props.text} words={props.words ?? []} />
      {rest > 0 && (
        <button type="button" class="link" onClick={() => setLength(Math.max(length * 4, 16_384))}>
          {' '}
          … {rest.toLocaleString('en-US')} more characters
        </button>
      )}
    </span>
  );
}
