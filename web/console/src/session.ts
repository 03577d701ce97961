// The credential: in sessionStorage, so that it survives a reload and no longer than the tab; or, on a shared
// computer, in memory alone. It is never put into a URL or into localStorage.

export interface Credential {
  kind: 'admin' | 'app' | 'view';
  secret: string;
  /** When it is forgotten (ms since the epoch). */
  until: number;
}

const PLACE = 'logferry.credential';
/** A working day (ms). */
const LIFETIME_MS = 8 * 3_600_000;

export function load(storage: Storage, now: number): Credential | undefined {
  const text = storage.getItem(PLACE);
  if (text === null) return undefined;
  try {
    const found = JSON.parse(text) as Credential;
    if (found && found.until > now && typeof found.secret === 'string') return found;
  } catch {
    // What another version of the console has left is no credential.
  }
  storage.removeItem(PLACE);
  return undefined;
}

export function keep(storage: Storage, credential: Credential): void {
  storage.setItem(PLACE, JSON.stringify(credential));
}

export function forget(storage: Storage): void {
  storage.removeItem(PLACE);
}

/** The credentials that a text may be, most likely first. */
export function candidates(text: string, now: number): Credential[] {
  const secret = text.trim();
  const until = now + LIFETIME_MS;
  if (secret.split('.').length === 3) return [{ kind: 'view', secret, until }];
  const admin: Credential = { kind: 'admin', secret, until };
  return /^[0-9a-f]{48}$/.test(secret) ? [{ kind: 'app', secret, until }, admin] : [admin];
}

/** The headers that show a credential. */
export function headersOf({ kind, secret }: Credential): Record<string, string> {
  if (kind === 'admin') return { 'X-Admin-Key': secret };
  if (kind === 'app') return { 'X-API-Key': secret };
  return { Authorization: `Bearer ${secret}` };
}
