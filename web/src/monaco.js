// The editor's workers come from this server; esbuild names them (build.mjs).
globalThis.MonacoEnvironment = {
  getWorker: (_, label) => new Worker(WORKERS[label] ?? WORKERS.editor),
}
