// The package as the tests see it: `window.logs` and `window.uploads`.
const [logs, uploads] = await Promise.all([import('/dist/index.js'), import('/dist/uploads.js')]);
Object.assign(window, { logs, uploads });
