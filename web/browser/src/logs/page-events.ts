/** When a page goes and comes back. Never `unload`: a listener to it costs the back/forward cache. */

export interface PageEvents {
  /** `ends`: the page does not come back. */
  leave(state: 'hidden' | 'frozen' | 'leaving', ends: boolean): void;
  back(): void;
  network(online: boolean): void;
}

/** Returns what ends listening. */
export function watchPage({ leave, back, network }: PageEvents): () => void {
  const all: [EventTarget, string, (event: Event) => void][] = [
    [document, 'visibilitychange', () => document.visibilityState === 'hidden' && leave('hidden', false)],
    [document, 'freeze', () => leave('frozen', false)],
    [document, 'resume', back],
    [window, 'pagehide', (event) => leave('leaving', !(event as PageTransitionEvent).persisted)],
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
