// The whole console: the login, or the frame with a page in it.

import { useCallback, useEffect, useMemo, useState } from 'preact/hooks';
import { apiBase, Client, type Problem, problemOf } from './api.ts';
import { type Session, SessionContext } from './context.ts';
import { Frame } from './frame.tsx';
import { Login } from './login.tsx';
import { LogsPage } from './logs/page.tsx';
import { AlertsPage } from './pages/alerts.tsx';
import { AppPage } from './pages/app.tsx';
import { ErasePage } from './pages/erase.tsx';
import { FilesPage } from './pages/files.tsx';
import { HealthPage } from './pages/health.tsx';
import { OverviewPage } from './pages/overview.tsx';
import { UploadsPage } from './pages/uploads.tsx';
import { href, navigate, type PageName, useRoute } from './route.ts';
import { type Credential, forget, keep, load } from './session.ts';
import type { App } from './types.ts';
import { Loading, Trouble } from './ui/parts.tsx';

const PAGE: Record<PageName, () => preact.JSX.Element> = {
  overview: OverviewPage,
  logs: LogsPage,
  alerts: AlertsPage,
  files: FilesPage,
  health: HealthPage,
  uploads: UploadsPage,
  app: AppPage,
  erase: ErasePage,
};

export function Console() {
  const [credential, setCredential] = useState(() => load(sessionStorage, Date.now()));
  const [ended, setEnded] = useState(false);
  const leave = useCallback((expired: boolean) => {
    forget(sessionStorage);
    setCredential(undefined);
    setEnded(expired);
  }, []);
  useEffect(() => {
    if (!credential) return;
    // The longest time that a timer takes is longer than a credential lasts.
    const timer = setTimeout(() => leave(true), credential.until - Date.now());
    return () => clearTimeout(timer);
  }, [credential, leave]);
  const enter = (entered: Credential, remember: boolean) => {
    if (remember) keep(sessionStorage, entered);
    setEnded(false);
    setCredential(entered);
  };
  if (!credential) return <Login ended={ended} enter={enter} />;
  return <Inside key={credential.secret} credential={credential} leave={leave} />;
}

function Inside({ credential, leave }: { credential: Credential; leave: (expired: boolean) => void }) {
  const client = useMemo(
    () => new Client(apiBase(document.baseURI), credential, () => leave(true)),
    [credential, leave],
  );
  const [apps, setApps] = useState<string[]>();
  const [manages, setManages] = useState(credential.kind === 'admin');
  const [problem, setProblem] = useState<Problem>();
  const enter = useCallback(async () => {
    setProblem(undefined);
    try {
      const found = (await client.get<string[]>('apps')).sort();
      setApps(found);
      const own = credential.kind === 'app' && found[0] !== undefined;
      if (own) {
        const app = await client.get<App>(`apps/${found[0]}`);
        const key = app.keys.find(({ key_id }) => credential.secret.startsWith(key_id));
        setManages(key?.scopes.includes('manage') ?? false);
      }
    } catch (error) {
      setProblem(problemOf(error));
    }
  }, [client, credential]);
  useEffect(() => void enter(), [enter]);

  const route = useRoute();
  if (problem) return <Trouble problem={problem} retry={() => void enter()} />;
  if (!apps) return <Loading />;
  const named = route.params.get('app') ?? undefined;
  const utc = route.params.get('tz') === 'utc';
  const session: Session = {
    client,
    kind: credential.kind,
    apps,
    app: credential.kind === 'admin' ? named : apps[0],
    manages,
    utc,
    link: (page, params = {}, app = named) =>
      href(page, {
        ...(credential.kind === 'admin' && app !== undefined && { app }),
        ...(utc && { tz: 'utc' }),
        ...params,
      }),
    reloadApps: enter,
    choose: (app) => {
      const params = new URLSearchParams(route.params);
      if (app === undefined) params.delete('app');
      else params.set('app', app);
      navigate(route.page, params);
    },
    logOut: () => leave(false),
  };
  const Page = PAGE[route.page];
  return (
    <SessionContext.Provider value={session}>
      <Frame page={route.page}>
        <Page key={route.page} />
      </Frame>
    </SessionContext.Provider>
  );
}
