import { fileURLToPath } from 'node:url';

// The server of `make web-demo`, which mints the tokens; in your app, route handlers do.
const server = process.env.DEMO_SERVER ?? 'http://localhost:4800';

export default {
  turbopack: { root: fileURLToPath(new URL('.', import.meta.url)) },
  rewrites: async () =>
    ['tokens', 'config', 'arrived'].map((name) => ({
      source: `/${name}/:path*`,
      destination: `${server}/${name}/:path*`,
    })),
};
