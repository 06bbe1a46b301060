// Bundles the playground into dist/: hashed names under assets/, everything gzipped and nothing else, so that the
// program embeds each byte once. See web.go for how it is served.
import { build } from 'esbuild'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'

const out = new URL('dist/', import.meta.url).pathname
const root = new URL('.', import.meta.url).pathname
const compress = promisify(gzip)

const common = {
  absWorkingDir: root,
  bundle: true,
  minify: true,
  write: false,
  metafile: true,
  legalComments: 'none',
  target: ['es2022'],
  outdir: join(out, 'assets'),
  entryNames: '[name]-[hash]',
  chunkNames: '[name]-[hash]',
  assetNames: '[name]-[hash]',
  loader: { '.ttf': 'file', '.woff2': 'file', '.svg': 'file' },
  logLevel: 'warning',
  define: { 'process.env.NODE_ENV': '"production"' },
}

const workers = await build({
  ...common,
  format: 'iife',
  entryPoints: {
    'worker-editor': 'monaco-editor/esm/vs/editor/editor.worker.js',
    'worker-json': 'monaco-editor/esm/vs/language/json/json.worker.js',
    'worker-graphql': 'monaco-graphql/esm/graphql.worker.js',
  },
})
const page = await build({
  ...common,
  format: 'esm',
  splitting: true,
  jsx: 'automatic',
  entryPoints: { playground: 'src/main.jsx', icon: 'src/icon.svg' },
  define: { ...common.define, WORKERS: JSON.stringify(urls(workers, /^worker-(\w+)-/)) },
})

// urls maps what the pattern's group captures to the address of the file.
function urls(result, pattern) {
  const found = {}
  for (const { path } of result.outputFiles) {
    const match = pattern.exec(basename(path))
    if (match) found[match[1]] = '/assets/' + basename(path)
  }
  return found
}

await rm(out, { recursive: true, force: true })
await mkdir(join(out, 'assets'), { recursive: true })
const names = urls(page, /^(playground-\w+\.(?:js|css)|icon-\w+\.svg)$/)
const named = (prefix, suffix) => Object.values(names).find((url) => url.startsWith('/assets/' + prefix) && url.endsWith(suffix))
const html = (await readFile(join(root, 'index.html'), 'utf8'))
  .replace('%ICON%', named('icon', '.svg'))
  .replace('%STYLE%', named('playground', '.css'))
  .replace('%SCRIPT%', named('playground', '.js'))
if (html.includes('%') || html.includes('undefined')) throw new Error('index.html names a file that was not built')

const files = new Map([['index.html', Buffer.from(html)]])
for (const { path, contents } of [...workers.outputFiles, ...page.outputFiles]) {
  if (basename(path).startsWith('icon-') && path.endsWith('.js')) continue // the stub that exports the icon's address
  files.set('assets/' + basename(path), contents)
}
let total = 0
for (const [name, contents] of files) {
  const packed = await compress(contents, { level: 9 })
  total += packed.length
  await writeFile(join(out, name + '.gz'), packed)
}
console.log(`playground: ${files.size} files, ${Math.round(total / 1024)} KiB compressed`)
