// Bundles the shop and the console into dist/web/: scripts and styles under names that carry their hash, and a page each
// that names them. Types are checked by `npm run typecheck`, not here.
import { build } from 'esbuild'
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync, copyFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const source = join(root, 'src/web')

/** @param outdir the folder to fill; it is emptied first */
export async function buildPages(outdir = join(root, 'dist/web')) {
  rmSync(outdir, { recursive: true, force: true })
  mkdirSync(join(outdir, 'assets'), { recursive: true })
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: ['src/web/shop/shop.tsx', 'src/web/console/console.tsx', 'src/web/style.css', 'src/web/icon.svg'],
    outdir: join(outdir, 'assets'),
    bundle: true,
    splitting: true,
    format: 'esm',
    target: 'es2022',
    minify: true,
    metafile: true,
    entryNames: '[name]-[hash]',
    chunkNames: 'chunk-[hash]',
    assetNames: '[name]-[hash]',
    loader: { '.svg': 'copy' },
    jsx: 'automatic',
    jsxImportSource: 'preact',
    logLevel: 'warning',
  })
  const built = Object.entries(metafile.outputs)
  const outputOf = (entry) => {
    const [path, output] = built.find(
      ([, { entryPoint, inputs }]) => entryPoint === entry || (entry.endsWith('.svg') && entry in inputs),
    )
    return { url: `/assets/${basename(path)}`, imports: output.imports.map((one) => `/assets/${basename(one.path)}`) }
  }
  const style = outputOf('src/web/style.css').url
  const icon = outputOf('src/web/icon.svg').url
  for (const name of ['shop', 'console', 'not_found']) {
    const script = name === 'not_found' ? undefined : outputOf(`src/web/${name}/${name}.tsx`)
    const head = [
      `<link rel="icon" href="${icon}" type="image/svg+xml">`,
      `<link rel="stylesheet" href="${style}">`,
      ...(script === undefined ? [] : script.imports.map((url) => `<link rel="modulepreload" href="${url}">`)),
      ...(script === undefined ? [] : [`<script type="module" src="${script.url}"></script>`]),
    ]
    const page = readFileSync(join(source, `${name}.html`), 'utf8').replace('<!-- head -->', head.join('\n    '))
    writeFileSync(join(outdir, `${name}.html`), page)
  }
  copyPictures(join(source, 'pictures'), join(outdir, 'pictures'))
}

/** Pictures of the demo's products, under the names that the catalogue knows. */
function copyPictures(from, to) {
  mkdirSync(to, { recursive: true })
  for (const name of readdirSync(from)) copyFileSync(join(from, name), join(to, name))
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await buildPages(process.argv[2])
