// Lists that come in pages, with a button for the next one.

import { useEffect, useRef, useState } from 'preact/hooks';
import { type Client, type Params, type Problem, problemOf } from '../api.ts';
import type { Page } from '../types.ts';

export interface Paged<T> {
  items: T[];
  loading: boolean;
  complete: boolean;
  problem: Problem | undefined;
  more: () => void;
  reload: () => void;
}

/** Pages without an item that are skipped at once. */
const EMPTY_PAGES = 20;

/** A list of the API, loaded again whenever its path or parameters change. */
export function usePages<T>(client: Client, path: string | undefined, params: Params): Paged<T> {
  const key = JSON.stringify([path, params]);
  const [round, setRound] = useState(0);
  const [state, setState] = useState<{
    items: T[];
    cursor: string | null | undefined;
    loading: boolean;
    problem: Problem | undefined;
  }>({ items: [], cursor: undefined, loading: true, problem: undefined });
  const running = useRef(new AbortController());
  /** Loads the next page; a request that is under way is aborted. */
  const load = async (items: T[], from: string | undefined) => {
    running.current.abort();
    running.current = new AbortController();
    const { signal } = running.current;
    setState({ items, cursor: from, loading: true, problem: undefined });
    if (path === undefined) return;
    let cursor: string | null | undefined = from;
    try {
      for (let n = 0; n < EMPTY_PAGES; n++) {
        const page: Page<T> = await client.list<T>(path, { ...params, cursor: cursor ?? undefined }, signal);
        cursor = page.cursor;
        if (page.data.length || cursor === null) {
          if (!signal.aborted)
            setState({ items: [...items, ...page.data], cursor, loading: false, problem: undefined });
          return;
        }
      }
      if (!signal.aborted) setState({ items, cursor, loading: false, problem: undefined });
    } catch (error) {
      if (!signal.aborted) setState({ items, cursor, loading: false, problem: problemOf(error) });
    }
  };
  // `key` is the path and the parameters; a round loads again.
  useEffect(() => {
    void load([], undefined);
    return () => running.current.abort();
  }, [key, round]);
  return {
    ...state,
    complete: state.cursor === null,
    more: () => void load(state.items, state.cursor ?? undefined),
    reload: () => setRound((n) => n + 1),
  };
}

export function More<T>({ paged, what }: { paged: Paged<T>; what: string }) {
  if (paged.loading || paged.complete) return null;
  return (
    <button type="button" class="button" onClick={paged.more}>
      More {what}
    </button>
  );
}
