// The login: an API key, the admin key or a view token, tried against `GET /apps`.

import { useState } from 'preact/hooks';
import { apiBase, Client, type Problem, problemOf } from './api.ts';
import { type Credential, candidates } from './session.ts';
import { Icon, Logo } from './ui/icons.tsx';
import { Trouble } from './ui/parts.tsx';

interface Props {
  /** The last session has ended by itself. */
  ended: boolean;
  enter: (credential: Credential, remember: boolean) => void;
}

export function Login({ ended, enter }: Props) {
  const [text, setText] = useState('');
  const [shared, setShared] = useState(false);
  const [trying, setTrying] = useState(false);
  const [problem, setProblem] = useState<Problem>();
  const submit = async (event: Event) => {
    event.preventDefault();
    setTrying(true);
    setProblem(undefined);
    let last: unknown;
    for (const credential of candidates(text, Date.now())) {
      try {
        await new Client(apiBase(document.baseURI), credential).get('apps');
        enter(credential, !shared);
        return;
      } catch (error) {
        last = error;
        if (problemOf(error).status !== 401) break;
      }
    }
    setProblem(problemOf(last));
    setTrying(false);
  };
  return (
    <main class="login">
      <form class="login-card" onSubmit={submit}>
        <div class="brand">
          <Logo size={36} />
          <h1>Logferry</h1>
        </div>
        <p class="muted">Logs, files and health checks of your apps.</p>
        {ended && (
          <p class="notice" role="status">
            <Icon name="clock" /> The session has ended. Log in to return to the same view.
          </p>
        )}
        <label class="field">
          <span>API key, admin key or view token</span>
          <input
            type="password"
            name="credential"
            autocomplete="off"
            spellcheck={false}
            required
            autofocus
            value={text}
            onInput={(event) => setText(event.currentTarget.value)}
          />
        </label>
        <label class="check">
          <input
            type="checkbox"
            checked={shared}
            onChange={(event) => setShared(event.currentTarget.checked)}
          />
          <span>This is a shared computer: forget the key when the page is closed or reloaded</span>
        </label>
        {problem && <Trouble problem={problem} />}
        <button type="submit" class="button primary wide" disabled={trying || !text.trim()}>
          {trying ? 'Checking …' : 'Log in'}
        </button>
        <p class="muted small">
          The key stays in this tab, for at most 8 hours. On the stack of <code>make up</code>, the admin key
          is <code>ADMIN_KEY</code> in <code>.logferry/local.env</code>.
        </p>
      </form>
    </main>
  );
}
