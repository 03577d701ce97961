// The frame of every page: navigation, the app, the theme, the keys.

import type { ComponentChildren } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { useSession } from './context.ts';
import { useKeys } from './hooks.ts';
import { PAGES, type PageName } from './route.ts';
import { Icon, type IconName, Logo } from './ui/icons.tsx';
import { Dialog, IconButton } from './ui/parts.tsx';
import { setTheme, useTheme } from './ui/theme.ts';

const TITLES: Record<PageName, string> = {
  overview: 'Overview',
  logs: 'Logs',
  alerts: 'Alerts',
  files: 'Files',
  health: 'Health',
  uploads: 'Uploads',
  app: 'App',
  erase: 'Erase',
};

const KEYS: [string, string][] = [
  ['/', 'search the logs'],
  ['j, k', 'next and previous record'],
  ['Enter', 'expand or close the record'],
  ['c', 'the record between its neighbours'],
  ['l', 'live tail on and off'],
  ['w', 'wrap long lines'],
  ['Escape', 'leave a field, close a dialog'],
  ['1 … 7', 'the pages, from Overview to App'],
  ['?', 'these keys'],
];

export function Frame({ page, children }: { page: PageName; children: ComponentChildren }) {
  const session = useSession();
  const [help, setHelp] = useState(false);
  const theme = useTheme();
  useEffect(() => {
    document.title = `${TITLES[page]}${session.app ? ` · ${session.app}` : ''} · Logferry`;
  }, [page, session.app]);
  const keys: Record<string, () => void> = { '?': () => setHelp(true) };
  for (const [n, name] of PAGES.entries()) keys[String(n + 1)] = () => location.assign(session.link(name));
  useKeys(keys);
  return (
    <div class="frame">
      <button type="button" class="skip" onClick={skip}>
        To the content
      </button>
      <aside class="side">
        <a class="brand" href={session.link('overview')} aria-label="Logferry, overview">
          <Logo />
          <span>Logferry</span>
        </a>
        <nav aria-label="Pages">
          {PAGES.map((name) => (
            <a key={name} href={session.link(name)} aria-current={name === page ? 'page' : undefined}>
              <Icon name={name as IconName} size={18} />
              <span>{TITLES[name]}</span>
            </a>
          ))}
        </nav>
        <div class="side-foot">
          <IconButton
            icon={theme === 'dark' ? 'sun' : 'moon'}
            label={theme === 'dark' ? 'Light colours' : 'Dark colours'}
            onClick={() => setTheme(theme === 'dark' ? 'light' : 'dark')}
          />
          <IconButton icon="help" label="Keys" onClick={() => setHelp(true)} />
          <IconButton icon="logout" label="Log out" onClick={session.logOut} />
        </div>
      </aside>
      <main id="main" tabIndex={-1}>
        {children}
      </main>
      {help && (
        <Dialog title="Keys" close={() => setHelp(false)}>
          <dl class="keys">
            {KEYS.map(([key, does]) => (
              <div key={key}>
                <dt>
                  <kbd>{key}</kbd>
                </dt>
                <dd>{does}</dd>
              </div>
            ))}
          </dl>
        </Dialog>
      )}
    </div>
  );
}

function skip(): void {
  document.getElementById('main')?.focus();
}

/** The head of a page: its title, the app, and what can be done. */
export function Head({
  title,
  children,
  allApps,
}: {
  title: string;
  children?: ComponentChildren;
  allApps?: boolean;
}) {
  const { kind, apps, app, choose } = useSession();
  return (
    <header class="head">
      <h1>{title}</h1>
      {kind === 'admin' ? (
        <select
          aria-label="App"
          value={app ?? ''}
          onChange={(event) => choose(event.currentTarget.value || undefined)}
        >
          <option value="">{allApps ? 'All apps' : 'Choose an app'}</option>
          {apps.map((name) => (
            <option key={name} value={name}>
              {name}
            </option>
          ))}
          {app && !apps.includes(app) && <option value={app}>{app}</option>}
        </select>
      ) : (
        <span class="app-name">{app}</span>
      )}
      <div class="head-actions">{children}</div>
    </header>
  );
}
