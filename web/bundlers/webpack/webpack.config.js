import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

const context = dirname(fileURLToPath(import.meta.url));

export default {
  context,
  mode: 'production',
  entry: './main.js',
  output: { path: `${context}/dist`, clean: true },
};
