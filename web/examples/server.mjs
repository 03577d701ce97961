// The server of an app that uses Logferry from the browser: it holds the API key and mints short-lived tokens for
// its users. Beside that it serves the example pages. `make web-demo` starts it on the stack of `make up`.
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { tokens } from './tokens.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
const MIME = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css' };

function localStack() {
  const file = process.env.LOGFERRY_LOCAL_ENV ?? join(here, '..', '..', '.logferry', 'local.env');
  const lines = readFileSync(file, 'utf8').split('\n');
  const pairs = lines.filter((line) => line.includes('=')).map((line) => line.split(/=(.*)/s).slice(0, 2));
  const { API_URL, ADMIN_KEY } = Object.fromEntries(pairs);
  return { api: API_URL.replace(/\/$/, ''), adminKey: ADMIN_KEY };
}

/** Calls the API; the answer's `data`. */
async function call(method, url, headers, body) {
  const answer = await fetch(url, { method, headers, ...(body && { body: JSON.stringify(body) }) });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${method} ${new URL(url).pathname}: ${answer.status} ${text}`);
  return JSON.parse(text).data;
}

const { api, adminKey } = localStack();
const appId = `web-demo-${randomBytes(4).toString('hex')}`;
const app = { app_id: appId, name: 'web demo' };
const { api_key: key } = await call('POST', `${api}/apps`, { 'x-admin-key': adminKey }, app);
const mint = tokens({ api, app: appId, key });
const asApp = (method, path) => call(method, `${api}${path}`, { 'x-api-key': key });

// A real server knows its user from the session; here every visitor is the same one.
const routes = {
  'POST /tokens/upload': async () => ({ token: await mint.upload('visitor') }),
  'POST /tokens/join': async () => ({ token: await mint.join('demo', 'visitor') }),
  'GET /config': () => ({ endpoint: api, appId }),
  'GET /arrived/uploads': () => asApp('GET', '/uploads?progress=true&limit=20'),
  'GET /arrived/logs': () => asApp('GET', '/logs?limit=50'),
};

const server = createServer(async (request, response) => {
  const { pathname } = new URL(request.url ?? '/', 'http://localhost');
  const send = (status, type, body) => {
    response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' });
    response.end(body);
  };
  try {
    const route = routes[`${request.method} ${pathname}`];
    if (route) return send(200, 'application/json', JSON.stringify(await route()));
    const path = normalize(pathname.endsWith('/') ? `${pathname}index.html` : pathname);
    const folder = path.startsWith('/dist/') ? join(here, '..', 'browser') : join(here, 'html');
    send(200, MIME[extname(path)] ?? 'application/octet-stream', await readFile(join(folder, path)));
  } catch (error) {
    const missing = error.code === 'ENOENT';
    if (!missing) console.error(error);
    send(missing ? 404 : 502, 'text/plain', missing ? 'not found' : 'the API refused the request');
  }
});

server.listen(Number(process.env.WEB_DEMO_PORT ?? 4800), '127.0.0.1', () => {
  console.log(`http://localhost:${server.address().port}/  (app ${appId}; end with Ctrl-C)`);
});
