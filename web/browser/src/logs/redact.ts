/** Secrets are replaced before anything is stored or sent. The names are those that the service redacts. */

import { MASK, type Redactor } from './format.ts';
import type { RedactOptions } from './types.ts';

/** Headers whose value in a text is the rest of the line. */
const HEADERS = 'authorization,proxy-authorization,cookie,set-cookie,x-api-key,x-admin-key';

/** Fields whose value in a text is a word, or what stands in quotes. */
const WORDS =
  'x-amz-security-token,x-amz-signature,x-amz-credential,password,passwd,pwd,passphrase,secret,client-secret,' +
  'private-key,secret-access-key,api-key,token,access-token,refresh-token,id-token,auth-token,session-token,' +
  'join-token,upload-token';

const QUERY = 'auth|key|code|sig|signature|jwt|session';

/** Looked for once a word: `eyJ` may stand in it at many places. */
const JWT = /(?<![\w-])(?=[\w-]+\.[\w-]*\.[\w-])([\w-]*?)eyJ[\w-]{10,}\.[\w-]*\.[\w-]+(?:\.[\w-]+\.[\w-]+)?/g;

/** Between the words of a name may be `-`, `_` or nothing. */
const pattern = (name: string) => name.replace(/[^\w-]/g, '\\$&').replace(/[-_]/g, '[-_]?');

const bare = (name: string) => name.replace(/[-_]/g, '').toLowerCase();

export function redactor(options: boolean | RedactOptions = true): Redactor | null {
  if (options === false) return null;
  const more = options === true ? {} : options;
  const headers = HEADERS.split(',');
  const words = [...WORDS.split(','), ...(more.names ?? [])];
  const hidden = new Set([...headers, ...words].map(bare));
  const either = (names: string[]) => names.map(pattern).join('|');
  // Up to the same quote, or the end of a line that is cut off.
  const quoted = '(\\\\*["\'])(?:(?!\\3)(?:\\\\+[^\\\\\\n]|[^\\\\\\n]))*(?:\\3)?';
  const between = '(\\\\*["\']?\\s*(?::|=>?)\\s*)';
  // Most lines hold none of this, and are passed after one look.
  const hint = new RegExp(`eyJ|[?&]\\w|${either([...headers, ...words])}`, 'i');
  const rules: [RegExp, string][] = [
    [new RegExp(`\\b(${either(headers)})${between}(?:${quoted}|[^\\n]+)`, 'gi'), `$1$2${MASK}`],
    [new RegExp(`(${either(words)})${between}(?:${quoted}|[^\\s"',;&]+)`, 'gi'), `$1$2${MASK}`],
    [new RegExp(`([?&](?:${either(words)}|${QUERY})=)[^&#\\s"']+`, 'gi'), `$1${MASK}`],
    [JWT, `$1${MASK}`],
  ];
  const own = (more.patterns ?? []).map(
    (rule) => new RegExp(rule.source, `${rule.flags.replace(/[gy]/g, '')}g`),
  );
  return {
    hides: (name) => hidden.has(bare(name)),
    text(text) {
      let result = text;
      if (hint.test(text)) for (const [rule, by] of rules) result = result.replace(rule, by);
      for (const rule of own) result = result.replace(rule, MASK);
      return result;
    },
  };
}
