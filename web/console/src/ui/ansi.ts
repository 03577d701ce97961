// Text of records as pieces with classes: colours of terminals, matches of a search, and characters that
// would change how the text around them is shown. Nothing here makes HTML of a text.

export interface Piece {
  text: string;
  classes: string[];
  /** Instead of the text: a character that is not shown as it is. */
  mark?: string;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences begin with one
const ESCAPES = /\u001b(?:\[([0-?]*)[ -/]*([@-~])|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[@-Z\\^_])/g;
// Those that change the direction of text, and controls except tab and newline.
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are looked for
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g;

const COLOURS = ['black', 'red', 'green', 'yellow', 'blue', 'magenta', 'cyan', 'white'];

interface Style {
  colour: string | undefined;
  bold: boolean;
  dim: boolean;
  italic: boolean;
  underline: boolean;
}

const PLAIN: Style = { colour: undefined, bold: false, dim: false, italic: false, underline: false };

function styled(style: Style, codes: string): Style {
  let next = { ...style };
  const numbers = codes.split(/[;:]/).map(Number);
  for (let n = 0; n < numbers.length; n++) {
    const code = numbers[n] ?? 0;
    if (code === 0) next = { ...PLAIN };
    else if (code === 1) next.bold = true;
    else if (code === 2) next.dim = true;
    else if (code === 3) next.italic = true;
    else if (code === 4) next.underline = true;
    else if (code === 22) next = { ...next, bold: false, dim: false };
    else if (code === 23) next.italic = false;
    else if (code === 24) next.underline = false;
    else if (code >= 30 && code <= 37) next.colour = COLOURS[code - 30];
    else if (code >= 90 && code <= 97) next.colour = COLOURS[code - 90];
    else if (code === 39) next.colour = undefined;
    // Colours of 256 or more: their numbers are skipped.
    else if (code === 38 || code === 48) n += numbers[n + 1] === 5 ? 2 : 4;
  }
  return next;
}

function classesOf(style: Style): string[] {
  const classes: string[] = [];
  if (style.colour) classes.push(`ansi-${style.colour}`);
  for (const name of ['bold', 'dim', 'italic', 'underline'] as const) {
    if (style[name]) classes.push(`ansi-${name}`);
  }
  return classes;
}

/** The text between escape sequences. Those that are no colours have no effect. */
export function pieces(text: string): Piece[] {
  if (!text.includes('\u001b')) return visible(text, []);
  const found: Piece[] = [];
  let style = PLAIN;
  let at = 0;
  for (const match of text.matchAll(ESCAPES)) {
    found.push(...visible(text.slice(at, match.index), classesOf(style)));
    if (match[2] === 'm') style = styled(style, match[1] ?? '');
    at = match.index + match[0].length;
  }
  found.push(...visible(text.slice(at), classesOf(style)));
  return found;
}

function visible(text: string, classes: string[]): Piece[] {
  const found: Piece[] = [];
  let at = 0;
  for (const match of text.matchAll(HIDDEN)) {
    // A carriage return before a newline shows nothing.
    if (match[0] === '\r' && text[match.index + 1] === '\n') continue;
    if (match.index > at) found.push({ text: text.slice(at, match.index), classes });
    const code = match[0].charCodeAt(0).toString(16).toUpperCase().padStart(4, '0');
    found.push({ text: match[0], classes, mark: `U+${code}` });
    at = match.index + 1;
  }
  if (at < text.length) found.push({ text: text.slice(at), classes });
  return found;
}

/** The places of a text that match any of the words, in any case, as `[start, end]`. */
export function matches(text: string, words: string[]): [number, number][] {
  const found: [number, number][] = [];
  const low = text.toLowerCase();
  // Some characters change their length with their case: then places would be wrong.
  if (low.length !== text.length) return found;
  for (const word of words.filter(Boolean).map((one) => one.toLowerCase())) {
    for (let at = low.indexOf(word); at >= 0; at = low.indexOf(word, at + word.length)) {
      found.push([at, at + word.length]);
    }
  }
  found.sort((a, b) => a[0] - b[0]);
  let end = 0;
  return found.filter(([start, stop]) => {
    if (start < end) return false;
    end = stop;
    return true;
  });
}
