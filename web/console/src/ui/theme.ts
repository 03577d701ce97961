// Dark or light: as the system says, or as chosen here. The choice is no secret and stays in localStorage.

import { useEffect, useState } from 'preact/hooks';

export type Theme = 'system' | 'light' | 'dark';

const PLACE = 'logferry.theme';
const dark = () => window.matchMedia('(prefers-color-scheme: dark)');

export function theme(): Theme {
  try {
    const kept = localStorage.getItem(PLACE);
    return kept === 'light' || kept === 'dark' ? kept : 'system';
  } catch {
    // Storage may be turned off.
    return 'system';
  }
}

export function shown(chosen: Theme = theme()): 'light' | 'dark' {
  if (chosen !== 'system') return chosen;
  return dark().matches ? 'dark' : 'light';
}

export function setTheme(chosen: Theme): void {
  try {
    if (chosen === 'system') localStorage.removeItem(PLACE);
    else localStorage.setItem(PLACE, chosen);
  } catch {
    // The choice then lasts as long as the page.
  }
  apply(chosen);
}

function apply(chosen: Theme): void {
  document.documentElement.dataset.theme = shown(chosen);
  window.dispatchEvent(new Event('themechange'));
}

export function startTheme(): void {
  apply(theme());
  dark().addEventListener('change', () => apply(theme()));
}

/** The theme that is shown now. */
export function useTheme(): 'light' | 'dark' {
  const [now, setNow] = useState(shown);
  useEffect(() => {
    const changed = () => setNow(shown());
    window.addEventListener('themechange', changed);
    return () => window.removeEventListener('themechange', changed);
  }, []);
  return now;
}
