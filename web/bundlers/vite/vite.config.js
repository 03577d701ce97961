import { defineConfig } from 'vite';

// The workers are modules of their own: what the dependency optimizer of `vite dev` bundles would lose them.
export default defineConfig({
  optimizeDeps: { exclude: ['@logferry/browser'] },
  server: { fs: { allow: ['..'] } },
});
