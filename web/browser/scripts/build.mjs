// Bundles the package into dist/: the entry points as modules that share chunks, each worker as one file.
import { rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const outdir = join(root, 'dist');
const common = {
  absWorkingDir: root,
  bundle: true,
  minify: true,
  // What Chrome and Edge 111, Firefox 115 and Safari 16.4 have. Older targets double the size: private members.
  target: 'es2022',
  legalComments: 'none',
  logLevel: 'warning',
};

await rm(outdir, { recursive: true, force: true });

/** A worker as one file without imports: as a classic and as a module script alike. */
async function worker(name, source) {
  const result = await build({ ...common, entryPoints: [source], format: 'iife', write: false });
  await build({ ...common, entryPoints: [source], format: 'iife', outfile: join(outdir, `${name}.js`) });
  return result.outputFiles[0].text;
}

const logWorker = await worker('log-worker', 'src/logs/log-worker.ts');
const uploadWorker = await worker('upload-worker', 'src/uploads/upload-worker.ts');

await build({
  ...common,
  entryPoints: {
    index: 'src/logs/index.ts',
    uploads: 'src/uploads/index.ts',
    react: 'src/react/index.ts',
    'react-demo': 'src/react/demo.tsx',
  },
  outdir,
  format: 'esm',
  // The chunks stay beside the entries: `new URL('./log-worker.js', import.meta.url)` is relative to them.
  splitting: true,
  chunkNames: 'chunk-[hash]',
  jsx: 'automatic',
  // `idb` is inside, so that the files also work in a page without a bundler.
  external: ['react', 'react-dom', 'react/jsx-runtime'],
});

await build({
  ...common,
  entryPoints: ['src/inline.ts'],
  outdir,
  format: 'esm',
  define: {
    LOG_WORKER_SOURCE: JSON.stringify(logWorker),
    UPLOAD_WORKER_SOURCE: JSON.stringify(uploadWorker),
  },
});
