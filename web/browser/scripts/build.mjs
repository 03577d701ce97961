// Bundles the package into dist/: each entry point as a module, each worker as one file without imports.
import { rm } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
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

/** Modules that are files of their own in dist/: loaded when they are needed, or shared by entry points. */
const FILES = {
  'src/logs/main-host.ts': { file: './log-main.js', from: /^src\/logs\// },
  'src/uploads/serve.ts': { file: './upload-main.js', from: /^src\/uploads\// },
  'src/uploads/client.ts': { file: './uploads.js', from: /^src\/react\// },
  'src/react/use-upload-worker.ts': { file: './react.js', from: /^src\/react\/(?!index)/ },
};

const files = {
  name: 'files',
  setup({ onResolve }) {
    onResolve({ filter: /\.tsx?$/ }, ({ path, resolveDir, importer }) => {
      const found = FILES[relative(root, join(resolveDir, path))];
      if (found?.from.test(relative(root, importer))) return { path: found.file, external: true };
    });
  },
};

await rm(outdir, { recursive: true, force: true });

async function entry(name, source, more = {}) {
  await build({
    ...common,
    entryPoints: { [name]: source },
    outdir,
    format: 'esm',
    jsx: 'automatic',
    plugins: [files],
    // `idb` is inside, so that the files also work in a page without a bundler.
    external: ['react', 'react-dom', 'react/jsx-runtime'],
    ...more,
  });
}

/** A worker's file: works as a classic and as a module script alike. */
async function worker(name, source) {
  const result = await build({
    ...common,
    entryPoints: [source],
    format: 'iife',
    outfile: join(outdir, `${name}.js`),
    write: false,
  });
  await build({ ...common, entryPoints: [source], format: 'iife', outfile: join(outdir, `${name}.js`) });
  return JSON.stringify(result.outputFiles[0].text);
}

const define = {
  LOG_WORKER_SOURCE: await worker('log-worker', 'src/logs/log-worker.ts'),
  UPLOAD_WORKER_SOURCE: await worker('upload-worker', 'src/uploads/upload-worker.ts'),
};
await Promise.all([
  entry('index', 'src/logs/index.ts'),
  entry('s3-log-worker', 'src/logs/s3-log-worker.ts'),
  entry('log-main', 'src/logs/main-host.ts'),
  entry('uploads', 'src/uploads/index.ts'),
  entry('upload-main', 'src/uploads/serve.ts'),
  entry('react', 'src/react/index.ts'),
  entry('react-demo', 'src/react/demo.tsx'),
  entry('inline', 'src/inline.ts', { define }),
]);
