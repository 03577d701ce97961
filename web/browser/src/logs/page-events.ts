/** When a page goes and comes back. Never `unload`: a listener to it costs the back/forward cache. */

/** Listens until `signal` aborts. `ends`: the page does not come back. */
export function watchPage(
  signal: AbortSignal,
  leave: (state: 'hidden' | 'frozen' | 'leaving', ends: boolean) => void,
  back: () => void,
  network: (online: boolean) => void,
): void {
  const on = (target: EventTarget, event: string, run: (event: PageTransitionEvent) => void) =>
    target.addEventListener(event, run as EventListener, { signal });
  on(document, 'visibilitychange', () => document.visibilityState === 'hidden' && leave('hidden', false));
  on(document, 'freeze', () => leave('frozen', false));
  on(document, 'resume', back);
  on(window, 'pagehide', ({ persisted }) => leave('leaving', !persisted));
  on(window, 'pageshow', ({ persisted }) => persisted && back());
  // Workers do not get these everywhere.
  on(window, 'online', () => network(true));
  on(window, 'offline', () => network(false));
}
