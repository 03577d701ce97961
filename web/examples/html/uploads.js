import { createUploads } from '/dist/uploads.js';

const find = (selector) => document.querySelector(selector);
const { endpoint } = await (await fetch('/config')).json();

const uploads = createUploads({
  endpoint,
  async getToken() {
    const answer = await fetch('/tokens/upload', { method: 'POST' });
    return answer.ok ? (await answer.json()).token : null;
  },
});

const complain = (error) => {
  find('#problem').textContent = `${error.code ?? error.name}: ${error.message}`;
};

find('input').onchange = async ({ target }) => {
  find('#problem').textContent = '';
  for (const file of target.files) await uploads.start(file, { projectId: 'demo' }).catch(complain);
  target.value = '';
};
find('select').onchange = ({ target }) =>
  uploads.setBandwidthLimit(Number(target.value) || null).catch(complain);

const ACTIONS = {
  queued: ['pause', 'cancel'],
  uploading: ['pause', 'cancel'],
  waiting: ['pause', 'cancel'],
  paused: ['resume', 'cancel'],
  failed: ['retry', 'cancel'],
  'needs-file': ['cancel'],
  completed: ['remove'],
};

/** One row per upload, made once: buttons that are replaced ten times a second cannot be clicked. */
const rows = new Map();

function row({ uploadId, fileName }) {
  const known = rows.get(uploadId);
  if (known) return known;
  const item = document.createElement('li');
  const title = Object.assign(document.createElement('strong'), { textContent: fileName });
  const state = document.createElement('span');
  const bar = Object.assign(document.createElement('progress'), { max: 100 });
  const buttons = document.createElement('div');
  item.append(title, ' ', state, bar, buttons);
  find('#uploads').append(item);
  rows.set(uploadId, { item, state, bar, buttons, status: '' });
  return rows.get(uploadId);
}

function show(session) {
  const { uploadId, status, progress, error } = session;
  const shown = row(session);
  const { speed, estimatedTimeRemaining: left } = uploads.progressOf(uploadId) ?? {};
  const pace = speed && status === 'uploading' ? `, ${(speed / 2 ** 20).toFixed(1)} MiB/s` : '';
  const rest = left && status === 'uploading' ? `, ${Math.ceil(left)} s left` : '';
  shown.bar.value = progress;
  shown.state.textContent = `${progress}% ${status}${pace}${rest} ${error ? `(${error.message})` : ''}`;
  if (shown.status === status) return;
  shown.status = status;
  shown.item.dataset.status = status;
  const actions = (ACTIONS[status] ?? []).map((action) => {
    const button = Object.assign(document.createElement('button'), { type: 'button', textContent: action });
    button.onclick = () => uploads[action](uploadId).catch(complain);
    return button;
  });
  if (status === 'needs-file') actions.push(again(uploadId));
  shown.buttons.replaceChildren(...actions);
}

/** Asks for the file of an interrupted upload. */
function again(uploadId) {
  const label = Object.assign(document.createElement('label'), { textContent: 'Pick the file again: ' });
  const input = Object.assign(document.createElement('input'), { type: 'file' });
  input.onchange = () => uploads.resume(uploadId, input.files[0]).catch(complain);
  label.append(input);
  return label;
}

uploads.on('change', () => {
  const list = uploads.list();
  for (const session of list) show(session);
  for (const [id, { item }] of rows) {
    if (list.some(({ uploadId }) => uploadId === id)) continue;
    item.remove();
    rows.delete(id);
  }
  find('#host').textContent = uploads.host ?? 'starting';
});

async function arrived() {
  const answer = await fetch('/arrived/uploads');
  if (!answer.ok) return;
  const cells = (await answer.json()).map(({ key, status, uploaded_bytes: bytes, size }) => {
    const line = document.createElement('tr');
    for (const text of [key, status, `${bytes ?? size} of ${size}`]) line.insertCell().textContent = text;
    return line;
  });
  find('#arrived').replaceChildren(...cells);
}
for (const event of ['complete', 'cancelled', 'paused', 'queued']) uploads.on(event, arrived);
await arrived();
