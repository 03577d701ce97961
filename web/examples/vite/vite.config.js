import { defineConfig } from 'vite';

// The server of `make web-demo`, which mints the tokens; yours is where your API is.
const server = process.env.DEMO_SERVER ?? 'http://localhost:4800';

export default defineConfig({
  // The workers are files of the package, which the optimizer of `vite dev` would lose.
  optimizeDeps: { exclude: ['@logferry/browser'] },
  server: { proxy: { '/tokens': server, '/config': server, '/arrived': server } },
});
