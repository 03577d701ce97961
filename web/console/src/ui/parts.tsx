// Small parts of pages.

import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { type Problem, problemOf } from '../api.ts';
import type { Loaded } from '../hooks.ts';
import type { Level } from '../types.ts';
import { Icon, type IconName } from './icons.tsx';

export function LevelTag({ level }: { level: Level }) {
  return <span class={`level level-${level.toLowerCase()}`}>{level}</span>;
}

export function IconButton(props: {
  icon: IconName;
  label: string;
  onClick: () => void;
  pressed?: boolean;
  disabled?: boolean;
}) {
  return (
    <button
      type="button"
      class="icon-button"
      aria-label={props.label}
      title={props.label}
      aria-pressed={props.pressed}
      disabled={props.disabled}
      onClick={props.onClick}
    >
      <Icon name={props.icon} />
    </button>
  );
}

/** Copies a text, and says so for a moment. */
export function Copy({ text, label, icon = 'copy' }: { text: () => string; label: string; icon?: IconName }) {
  const [said, setSaid] = useState<'' | 'Copied' | 'Not allowed'>('');
  useEffect(() => {
    const timer = setTimeout(() => setSaid(''), 1_500);
    return () => clearTimeout(timer);
  }, [said]);
  const copy = () =>
    navigator.clipboard.writeText(text()).then(
      () => setSaid('Copied'),
      () => setSaid('Not allowed'),
    );
  return (
    <button type="button" class="button small" onClick={copy}>
      <Icon name={said === 'Copied' ? 'check' : icon} size={14} />
      <span aria-live="polite">{said || label}</span>
    </button>
  );
}

export function Trouble({ problem, retry }: { problem: Problem; retry?: () => void }) {
  return (
    <div class="trouble" role="alert">
      <Icon name="alert" />
      <div>
        <strong>{problem.message}</strong>
        <span class="muted">
          {problem.status > 0 && `${problem.status} ${problem.code}`}
          {problem.retryAfterSecs !== undefined && ` · try again in ${problem.retryAfterSecs} s`}
          {problem.requestId && ` · request ${problem.requestId}`}
        </span>
      </div>
      {retry && (
        <button type="button" class="button small" onClick={retry}>
          Try again
        </button>
      )}
    </div>
  );
}

/** What to do where there is nothing yet: a sentence, and the command that fills the page. */
export function Empty({
  title,
  children,
  command,
}: {
  title: string;
  children?: ComponentChildren;
  command?: string;
}) {
  return (
    <div class="empty">
      <h2>{title}</h2>
      {children && <p>{children}</p>}
      {command && (
        <div class="command">
          <pre tabIndex={0}>{command}</pre>
          <Copy label="Copy" text={() => command} />
        </div>
      )}
    </div>
  );
}

/** Shows what was loaded, or that it is on its way, or why it failed. */
export function Show<T>({
  loaded,
  children,
}: {
  loaded: Loaded<T>;
  children: (data: T) => ComponentChildren;
}) {
  if (loaded.problem) return <Trouble problem={loaded.problem} retry={loaded.reload} />;
  if (loaded.data === undefined) return <Loading />;
  return <>{children(loaded.data)}</>;
}

export function Loading({ label = 'Loading' }: { label?: string }) {
  return (
    <div class="loading" role="status">
      <span class="spinner" aria-hidden="true" />
      {label} …
    </div>
  );
}

/** A dialog over the page; Escape closes it. */
export function Dialog(props: { title: string; close: () => void; children: ComponentChildren }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} class="dialog" aria-labelledby="dialog-title" onClose={props.close}>
      <header>
        <h2 id="dialog-title">{props.title}</h2>
        <IconButton icon="close" label="Close" onClick={props.close} />
      </header>
      {props.children}
    </dialog>
  );
}

/** The end of a dialog's form: what went wrong, a way out, the action. */
export function FormEnd(props: {
  action: string;
  danger?: boolean | undefined;
  disabled?: boolean;
  problem: Problem | undefined;
  close: () => void;
}) {
  return (
    <>
      {props.problem && <Trouble problem={props.problem} />}
      <footer>
        <button type="button" class="button" onClick={props.close}>
          Cancel
        </button>
        <button
          type="submit"
          class={`button ${props.danger ? 'danger' : 'primary'}`}
          disabled={props.disabled}
        >
          {props.action}
        </button>
      </footer>
    </>
  );
}

/** A date and a time, as the browser asks for them. */
export function TimeField(props: {
  label: string;
  seconds?: boolean;
  value: string;
  change: (value: string) => void;
}) {
  return (
    <label class="field">
      <span>{props.label}</span>
      <input
        type="datetime-local"
        step={props.seconds ? '1' : undefined}
        value={props.value}
        onInput={(event) => props.change(event.currentTarget.value)}
      />
    </label>
  );
}

/** Asks before something is done that cannot be undone; `typed`: a word that must be typed first. */
export function Confirm(props: {
  title: string;
  action: string;
  typed?: string;
  danger?: boolean;
  close: () => void;
  run: () => Promise<unknown>;
  children: ComponentChildren;
}) {
  const [word, setWord] = useState('');
  const [running, setRunning] = useState(false);
  const [problem, setProblem] = useState<Problem>();
  const submit = async (event: Event) => {
    event.preventDefault();
    setRunning(true);
    try {
      await props.run();
      props.close();
    } catch (error) {
      setProblem(problemOf(error));
      setRunning(false);
    }
  };
  return (
    <Dialog title={props.title} close={props.close}>
      <form onSubmit={submit}>
        <div class="dialog-body">{props.children}</div>
        {props.typed !== undefined && (
          <label class="field">
            <span>
              Type <code>{props.typed}</code> to confirm
            </span>
            <input value={word} onInput={(event) => setWord(event.currentTarget.value)} autocomplete="off" />
          </label>
        )}
        <FormEnd
          action={props.action}
          danger={props.danger}
          disabled={running || (props.typed !== undefined && word !== props.typed)}
          problem={problem}
          close={props.close}
        />
      </form>
    </Dialog>
  );
}
