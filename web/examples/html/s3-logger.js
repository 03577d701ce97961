import { LogLevel, S3Logger } from '/dist/index.js';

const { endpoint } = await (await fetch('/config')).json();
const { token } = await (await fetch('/tokens/join', { method: 'POST' })).json();
const presignedUrl = `${endpoint}/presigned-url`;
// The meeting and attendee that the token is for.
const scope = { meetingId: 'demo', attendeeId: 'visitor' };
const say = (id, text) => {
  document.getElementById(id).textContent += `${text}\n`;
};

// Initialize S3Logger
const logger = new S3Logger({
  logLevel: LogLevel.DEBUG,
  presignedUrl,
  ...scope,
  joinToken: token,
  maxEntries: 500,
  maxBytes: 50 * 1024 * 1024, // 50MB
});

// Log messages
logger.debug('Debug message');
logger.info('Info message');
logger.warn('Warning message');
logger.error('Error message');

// Upload logs to S3
say('logger', await logger.uploadLogs());

// Clean up
logger.destroy();

// Create worker from the standalone worker file
const worker = new Worker('/dist/log-worker.js');

// Initialize worker
worker.postMessage({
  command: 'LOG_WORKER_INITIALIZE',
  config: {
    presignedUrlEndpoint: presignedUrl,
    ...scope,
    joinToken: token,
    maxEntries: 500,
    maxBytes: 50 * 1024 * 1024,
  },
});

// Send log messages
worker.postMessage({
  command: 'PUT_LOG',
  level: 'INFO',
  message: 'This is a log message',
});

// Trigger upload
worker.postMessage({
  command: 'UPLOAD_LOGS',
  joinToken: token,
});

// Listen for responses
worker.addEventListener('message', (event) => {
  const { command, message, error } = event.data;

  switch (command) {
    case 'LOG_WORKER_READY':
      say('worker', 'Worker ready');
      break;
    case 'LOG_UPLOAD_COMPLETE':
      say('worker', `Upload complete: ${message}`);
      break;
    case 'LOG_UPLOAD_FAILED':
      say('worker', `Upload failed: ${error}`);
      break;
  }
});
