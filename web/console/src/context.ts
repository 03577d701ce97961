// What every page needs: the API, and the app whose records are shown.

import { createContext } from 'preact';
import { useContext } from 'preact/hooks';
import type { Client } from './api.ts';
import type { PageName } from './route.ts';
import type { Credential } from './session.ts';

export interface Session {
  client: Client;
  kind: Credential['kind'];
  /** Every app for the administration, else the one of the credential. */
  apps: string[];
  /** The app that the URL names; undefined: all. */
  app: string | undefined;
  /** Whether this credential may change settings, as far as is known. */
  manages: boolean;
  utc: boolean;
  /** The URL of a page with the zone of the times and, for the administration, an app: the one that the URL names, or
   * another. */
  link: (page: PageName, params?: Record<string, string>, app?: string) => string;
  /** Reads the list of apps again. */
  reloadApps: () => Promise<void>;
  choose: (app: string | undefined) => void;
  logOut: () => void;
}

export const SessionContext = createContext<Session | undefined>(undefined);

export function useSession(): Session {
  const session = useContext(SessionContext);
  if (!session) throw new Error('a page is shown without a session');
  return session;
}
