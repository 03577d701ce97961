// What is shown is in the fragment of the URL: the page, and its filters as parameters. Never a credential.

import { useEffect, useState } from 'preact/hooks';

export const PAGES = ['overview', 'logs', 'alerts', 'files', 'health', 'uploads', 'app'] as const;
/** Pages to which other pages lead; they are not in the navigation. */
const INNER_PAGES = ['erase'] as const;
export type PageName = (typeof PAGES)[number] | (typeof INNER_PAGES)[number];

export interface Route {
  page: PageName;
  params: URLSearchParams;
}

export function parse(hash: string): Route {
  const [path = '', query = ''] = hash.replace(/^#\/?/, '').split('?', 2);
  const page = [...PAGES, ...INNER_PAGES].find((name) => name === path) ?? 'overview';
  return { page, params: new URLSearchParams(query) };
}

export function href(page: PageName, params: URLSearchParams | Record<string, string> = {}): string {
  const query = new URLSearchParams(params).toString();
  return `#/${page}${query && `?${query}`}`;
}

/** Shows something else. With `replace`, the button "back" does not return to what was shown before. */
export function navigate(
  page: PageName,
  params: URLSearchParams | Record<string, string>,
  replace = false,
): void {
  const hash = href(page, params);
  if (hash === location.hash) return;
  if (replace) history.replaceState(null, '', hash);
  else history.pushState(null, '', hash);
  window.dispatchEvent(new Event('hashchange'));
}

export function useRoute(): Route {
  const [route, setRoute] = useState(() => parse(location.hash));
  useEffect(() => {
    const changed = () => setRoute(parse(location.hash));
    window.addEventListener('hashchange', changed);
    window.addEventListener('popstate', changed);
    return () => {
      window.removeEventListener('hashchange', changed);
      window.removeEventListener('popstate', changed);
    };
  }, []);
  return route;
}
