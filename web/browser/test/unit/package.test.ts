import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const root = new URL('../../', import.meta.url);

/** What a page loads for `code` at once, minified and compressed (KiB); what it imports later is not in it. */
async function pageKib(code: string): Promise<number> {
  const result = await build({
    stdin: { contents: code, resolveDir: root.pathname },
    bundle: true,
    minify: true,
    format: 'esm',
    splitting: true,
    external: ['react', 'react/jsx-runtime'],
    outdir: '/out',
    write: false,
    metafile: true,
  });
  const loaded = new Set<string>();
  const load = (path: string) => {
    if (loaded.has(path)) return;
    loaded.add(path);
    for (const { path: next, kind, external } of result.metafile.outputs[path]?.imports ?? []) {
      if (!external && kind === 'import-statement') load(next);
    }
  };
  const [entry] = Object.entries(result.metafile.outputs).flatMap(([path, { entryPoint }]) =>
    entryPoint === '<stdin>' ? [path] : [],
  );
  load(entry ?? '');
  const bytes = result.outputFiles
    .filter(({ path }) => [...loaded].some((name) => path.endsWith(name.replace(/^.*\//, '/'))))
    .reduce((sum, { contents }) => sum + gzipSync(contents, { level: 9 }).length, 0);
  return bytes / 1024;
}

const fileKib = (name: string) =>
  gzipSync(readFileSync(new URL(`dist/${name}`, root)), { level: 9 }).length / 1024;

// The first draft allowed 2.5 and 6 for the logger, 2.5 and 7 for uploads, 1.5 for the hook. With every behaviour
// the workers are larger; Uppy with its S3 plugin is 22, tus-js-client 16.
test('49 the package stays within its budgets', async (t) => {
  const sizes = {
    'logger in the page': [await pageKib("export { createLogger } from './dist/index.js'"), 6.6],
    'S3Logger in the page': [await pageKib("export { S3Logger } from './dist/index.js'"), 6.3],
    'log worker': [fileKib('log-worker.js'), 14],
    'upload client in the page': [await pageKib("export { createUploads } from './dist/uploads.js'"), 2.5],
    'upload worker': [fileKib('upload-worker.js'), 10.9],
    'useUploadWorker in addition': [fileKib('react.js'), 1.2],
  } as const;
  for (const [name, [kib, budget]] of Object.entries(sizes)) {
    t.diagnostic(`${name}: ${kib.toFixed(2)} KiB of ${budget}`);
    assert.ok(kib <= budget, `${name}: ${kib.toFixed(2)} KiB, budget ${budget}`);
  }
});

test('49 on a server every entry point loads and the logger does nothing', async () => {
  const load = (name: string) => import(new URL(`dist/${name}.js`, root).href);
  const { createLogger, S3Logger } = await load('index');
  const options = {
    endpoint: 'https://api.test',
    getToken: () => null,
    scope: { meetingId: 'm', attendeeId: 'a' },
  };
  const logger = createLogger(options);
  logger.child({ a: 1 }).error('unheard');
  assert.deepEqual(await logger.flush(), { uploaded: 0, files: [], dropped: 0 });
  assert.equal((await logger.stats()).host, 'none');
  await logger.destroy();
  const original = new S3Logger({
    presignedUrl: 'https://api.test',
    meetingId: 'm',
    attendeeId: 'a',
    joinToken: 'j',
  });
  original.info('nothing');
  assert.equal(await original.uploadLogs(), 'No logs to upload');
  for (const name of ['uploads', 'react', 'react-demo', 'inline', 's3-log-worker']) await load(name);
});
