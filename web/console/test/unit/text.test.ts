import assert from 'node:assert/strict';
import { test } from 'node:test';
import { matches, pieces } from '../../src/ui/ansi.ts';

const shown = (text: string) =>
  pieces(text).map(({ text: part, classes, mark }) => [mark ?? part, ...classes].join('|'));

test('colours of a terminal become classes, and other escape sequences vanish', () => {
  assert.deepEqual(shown('plain'), ['plain']);
  assert.deepEqual(shown('\u001b[1;31mbad\u001b[0m rest'), ['bad|ansi-red|ansi-bold', ' rest']);
  assert.deepEqual(shown('\u001b[38;5;196mx\u001b[39my'), ['x', 'y']);
  assert.deepEqual(shown('\u001b[38;2;1;2;3;4mx'), ['x|ansi-underline']);
  assert.deepEqual(shown('a\u001b[2Jb\u001b]8;;http://x\u0007c\u001b[Hd'), ['a', 'b', 'c', 'd']);
});

test('characters that would change the direction of the text, and controls, are named instead', () => {
  assert.deepEqual(shown('user\u202Enimda'), ['user', 'U+202E', 'nimda']);
  assert.deepEqual(shown('a\u0000b\u2066c\r\nd\te'), ['a', 'U+0000', 'b', 'U+2066', 'c\r\nd\te']);
  assert.deepEqual(shown('over\rwritten'), ['over', 'U+000D', 'written']);
});

test('matches are found in any case, and do not overlap', () => {
  assert.deepEqual(matches('Payment of payments', ['payment']), [
    [0, 7],
    [11, 18],
  ]);
  assert.deepEqual(matches('abcabc', ['abc', 'bca']), [
    [0, 3],
    [3, 6],
  ]);
  assert.deepEqual(matches('text', ['']), []);
});
