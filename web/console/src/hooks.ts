// Hooks that several pages use.

import { elementScroll, observeElementOffset, observeElementRect, Virtualizer } from '@tanstack/virtual-core';
import { useCallback, useEffect, useLayoutEffect, useReducer, useRef, useState } from 'preact/hooks';
import { type Problem, problemOf } from './api.ts';

export interface Loaded<T> {
  data: T | undefined;
  problem: Problem | undefined;
  loading: boolean;
  reload: () => void;
}

/** Loads something again whenever `key` or `asked` changes, or `reload` is called; what is of another key is not
 * shown. */
export function useLoad<T>(key: string, load: (signal: AbortSignal) => Promise<T>, asked = 0): Loaded<T> {
  const [round, again] = useReducer((n: number) => n + 1, 0);
  const [state, setState] = useState<{ key: string; data?: T; problem?: Problem; loading: boolean }>({
    key,
    loading: true,
  });
  const latest = useRef(load);
  latest.current = load;
  useEffect(() => {
    const aborting = new AbortController();
    setState((before) => (before.key === key ? { ...before, loading: true } : { key, loading: true }));
    latest.current(aborting.signal).then(
      (data) => !aborting.signal.aborted && setState({ key, data, loading: false }),
      (error) => !aborting.signal.aborted && setState({ key, problem: problemOf(error), loading: false }),
    );
    return () => aborting.abort();
  }, [key, round, asked]);
  const current = state.key === key ? state : { loading: true };
  return {
    data: undefined,
    problem: undefined,
    ...current,
    reload: useCallback(() => again(undefined as never), []),
  };
}

/** The time, as of the last `everyMs`; it stands still while the page is hidden. */
export function useNow(everyMs: number): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => document.hidden || setNow(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}

interface VirtualOptions {
  count: number;
  estimate: number;
  scroller: () => HTMLElement | null;
  keyOf: (index: number) => string | number;
}

/** Which rows of a long list are in view. */
export function useVirtual({
  count,
  estimate,
  scroller,
  keyOf,
}: VirtualOptions): Virtualizer<HTMLElement, HTMLElement> {
  const [, redraw] = useReducer((n: number) => n + 1, 0);
  const options = {
    count,
    getScrollElement: scroller,
    estimateSize: () => estimate,
    getItemKey: keyOf,
    overscan: 12,
    scrollToFn: elementScroll,
    observeElementRect,
    observeElementOffset,
    onChange: () => redraw(undefined as never),
  };
  const held = useRef<Virtualizer<HTMLElement, HTMLElement>>(undefined);
  const virtual = held.current ?? new Virtualizer<HTMLElement, HTMLElement>(options);
  held.current = virtual;
  virtual.setOptions(options);
  useLayoutEffect(() => virtual._didMount(), [virtual]);
  useLayoutEffect(() => virtual._willUpdate());
  return virtual;
}

/** Keys that have a meaning while no field has the focus. */
export function useKeys(keys: Record<string, (event: KeyboardEvent) => void>): void {
  const latest = useRef(keys);
  latest.current = keys;
  useEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
      const target = event.target as HTMLElement;
      if (target.closest('input, textarea, select, dialog[open]')) return;
      const action = latest.current[event.key];
      if (!action) return;
      // A button that has the focus is pressed by Enter.
      if (event.key === 'Enter' && target.closest('button, a')) return;
      event.preventDefault();
      action(event);
    };
    window.addEventListener('keydown', pressed);
    return () => window.removeEventListener('keydown', pressed);
  }, []);
}
