// The text of a record: text nodes only, in pieces with classes.

import { matches, pieces } from './ansi.ts';

export function LogText({ text, words = [] }: { text: string; words?: string[] }) {
  return (
    <bdi>
      {pieces(text).map((piece, n) =>
        piece.mark ? (
          <span key={n} class="hidden-char" title={`${piece.mark}, not shown as it is`}>
            {piece.mark}
          </span>
        ) : (
          <span key={n} class={piece.classes.join(' ') || undefined}>
            <Highlighted text={piece.text} words={words} />
          </span>
        ),
      )}
    </bdi>
  );
}

function Highlighted({ text, words }: { text: string; words: string[] }) {
  const found = words.length ? matches(text, words) : [];
  if (!found.length) return <>{text}</>;
  const parts = [];
  let at = 0;
  for (const [start, end] of found) {
    parts.push(text.slice(at, start), <mark key={start}>{text.slice(start, end)}</mark>);
    at = end;
  }
  parts.push(text.slice(at));
  return <>{parts}</>;
}
