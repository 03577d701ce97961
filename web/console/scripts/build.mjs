// Bundles the console into dist/: the page, a script and a style whose names contain a hash of their content.
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const outdir = join(root, 'dist');
/** All files of the console, compressed (bytes). */
const BUDGET = 90 * 1024;

await rm(outdir, { recursive: true, force: true });
await mkdir(outdir);
const result = await build({
  absWorkingDir: root,
  entryPoints: { main: 'src/main.tsx', style: 'src/style/index.css' },
  entryNames: '[name]-[hash]',
  outdir,
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2022',
  jsx: 'automatic',
  jsxImportSource: 'preact',
  legalComments: 'none',
  logLevel: 'warning',
  metafile: true,
});

let page = await readFile(join(root, 'index.html'), 'utf8');
let size = 0;
for (const output of Object.keys(result.metafile.outputs)) {
  const name = basename(output);
  page = page.replace(name.replace(/-[A-Z0-9]{8}\./, '.'), name);
  size += gzipSync(await readFile(join(outdir, name))).length;
}
await writeFile(join(outdir, 'index.html'), page);
await cp(join(root, 'icon.svg'), join(outdir, 'icon.svg'));
if (size > BUDGET) throw new Error(`the console takes ${size} bytes compressed, more than ${BUDGET}`);
