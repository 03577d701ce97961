// An app that logs: the token comes from its own server, everything else from the package.
import { createLogger } from '/dist/index.js';

const $ = (id) => document.getElementById(id);
const { endpoint } = await (await fetch('/config')).json();

const logger = createLogger({
  endpoint,
  scope: { meetingId: 'demo', attendeeId: 'visitor' },
  level: 'DEBUG',
  flushIntervalMs: 20_000,
  context: { page: location.pathname },
  captureErrors: true,
  getToken: async () => (await (await fetch('/tokens/join', { method: 'POST' })).json()).token,
});

logger.on('error', ({ message }) => {
  $('problem').textContent = message;
});
logger.on('dropped', ({ count, why }) => {
  $('problem').textContent = `${count} lines were dropped (${why})`;
});

const form = document.querySelector('form');
form.addEventListener('submit', (event) => {
  event.preventDefault();
  logger[event.submitter?.value ?? 'info'](form.elements.message.value);
});

$('many').addEventListener('click', () => {
  for (let n = 1; n <= 1_000; n += 1) logger.info(`line ${n} of 1000`);
});

$('flush').addEventListener('click', async () => {
  try {
    const { uploaded, files } = await logger.flush();
    $('last').textContent = `${uploaded} lines in ${files.length} file(s)`;
    $('problem').textContent = '';
  } catch (error) {
    $('problem').textContent = error.message;
  }
});

$('close').addEventListener('click', () => {
  for (let n = 1; n <= 400; n += 1) logger.info(`last words ${n} of 400`);
  window.close();
  location.href = '/';
});

async function show() {
  const { host, storage, entries, bytes, dropped } = await logger.stats();
  $('host').textContent = host;
  $('storage').textContent = storage;
  $('waiting').textContent = `${entries} lines, ${bytes} bytes${dropped ? `, ${dropped} dropped` : ''}`;
}

async function showArrived() {
  const answer = await fetch('/arrived/logs');
  if (!answer.ok) return;
  $('arrived').replaceChildren(
    ...(await answer.json()).map(({ timestamp, level, message }) => {
      const row = document.createElement('tr');
      for (const text of [timestamp, level, message]) row.insertCell().textContent = text;
      return row;
    }),
  );
}

setInterval(show, 500);
setInterval(showArrived, 3_000);
await Promise.all([show(), showArrived()]);
