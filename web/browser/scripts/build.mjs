// Bundles the package into dist/: each entry point as a module, each worker as one file without imports.
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { minify } from 'terser';

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
await mkdir(outdir);

/** Bundles `source` into `name`.js and returns the text. Terser makes it some 3 % smaller than esbuild does. */
async function write(name, source, module, more) {
  const { outputFiles } = await build({ ...common, entryPoints: [source], write: false, ...more });
  const { code } = await minify(outputFiles[0].text, {
    module,
    toplevel: true,
    ecma: 2020,
    // What a page bundles again is smaller with its functions as they are.
    compress: {
      passes: 3,
      inline: 0,
      keep_fargs: false,
      ...(module && { reduce_funcs: false, sequences: false }),
    },
    format: { comments: false },
  });
  await writeFile(join(outdir, `${name}.js`), code);
  return code;
}

function entry(name, source, more = {}) {
  return write(name, source, true, {
    format: 'esm',
    jsx: 'automatic',
    plugins: [files],
    external: ['react', 'react-dom', 'react/jsx-runtime'],
    ...more,
  });
}

/** A worker's file: works as a classic and as a module script alike. */
async function worker(name, source) {
  return JSON.stringify(await write(name, source, false, { format: 'iife' }));
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
