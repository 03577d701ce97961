/** When a page goes and comes back. Never `unload`: a listener to it costs the back/forward cache. */

export interface PageEvents {
  leave(state: 'hidden' | 'frozen' | 'leaving'): void;
  back(): void;
  network(online: boolean): void;
}

/** Returns what ends listening. */
export function watchPage({ leave, back, network }: PageEvents): () => void {
  const all: [EventTarget, string, (event: Event) => void][] = [
    [document, 'visibilitychange', () => document.visibilityState === 'hidden' && leave('hidden')],
    [document, 'freeze', () => leave('frozen')],
    [document, 'resume', back],
    [window, 'pagehide', () => leave('leaving')],
    [window, 'pageshow', (event) => (event as PageTransitionEvent).persisted && back()],
    // Workers do not get these everywhere.
    [window, 'online', () => network(true)],
    [window, 'offline', () => network(false)],
  ];
  for (const [target, event, listener] of all) target.addEventListener(event, listener);
  return () => {
    for (const [target, event, listener] of all) target.removeEventListener(event, listener);
  };
}
