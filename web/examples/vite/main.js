import { createLogger } from '@logferry/browser';
import { createUploads } from '@logferry/browser/uploads';

const { endpoint } = await (await fetch('/config')).json();
const token = async (kind) => (await (await fetch(`/tokens/${kind}`, { method: 'POST' })).json()).token;

const logger = createLogger({
  endpoint,
  scope: { meetingId: 'demo', attendeeId: 'visitor' },
  getToken: () => token('join'),
});

document.querySelector('form').addEventListener('submit', async (event) => {
  event.preventDefault();
  logger.info(event.currentTarget.elements.message.value);
  const { uploaded } = await logger.flush();
  document.getElementById('logged').textContent = `${uploaded} lines uploaded`;
});

const uploads = createUploads({ endpoint, getToken: () => token('upload') });
const show = (text) => {
  document.getElementById('uploaded').textContent = text;
};
uploads.on('progress', ({ progress }) => show(`${progress} %`));
uploads.on('complete', () => show('the file is uploaded'));
uploads.on('error', ({ error }) => show(error.message));
document.querySelector('input[type=file]').addEventListener('change', (event) => {
  for (const file of event.currentTarget.files) uploads.start(file);
});
