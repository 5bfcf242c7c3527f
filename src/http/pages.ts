import Router from '@koa/router'
import type { Context } from 'koa'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import type { RequestMeter } from '../metrics.ts'
import { matchesNone } from './etag.ts'
import { PAGE_HEADERS, pageHeaders } from './middleware/security_headers.ts'
import { metered } from './router.ts'

/**
 * The shop and the console as the build has made them, from this process alone. They are small and few, so they are read
 * once and kept, compressed too. A file under /assets/ has its content's hash in its name and is kept by browsers for good;
 * a page is asked for again each time, and answered with 304 while it is the same.
 */

/** Where the build leaves them: dist/web, both from src/ and from dist/src/. */
const BUILT = ['../../web', '../../dist/web'].map((path) => fileURLToPath(new URL(path, import.meta.url)))

/** Paths within a page are the page's own business; what it does not know is answered with 404 all the same. */
const PAGES: Record<string, readonly string[]> = {
  'shop.html': ['/shop', '/shop/', '/shop/cart', '/shop/orders', '/shop/orders/:id'],
  'console.html': ['/console', '/console/'],
}
const NOT_FOUND = 'not_found.html'

const TYPES: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
}

const FOR_GOOD = 'public, max-age=31536000, immutable'
/** Pictures keep their names, which the catalogue knows. */
const FOR_A_DAY = 'public, max-age=86400'
const ASK_AGAIN = 'no-cache'

type File = { type: string; etag: string; body: Buffer; gzipped: Buffer }

/**
 * @param meter all of them are one route to the metrics
 * @param root the folder that the build has filled; a test's own
 */
export function pagesRouter(meter: RequestMeter, root = BUILT.find((path) => existsSync(path))): Router {
  const files = root === undefined ? new Map<string, File>() : readAll(root)
  const router = new Router({ strict: true, sensitive: true })
  const first = [metered(meter), pageHeaders(PAGE_HEADERS)]
  const page = (name: string, status: number) => (ctx: Context) => {
    const file = files.get(name) ?? NOT_BUILT
    serve(ctx, file, { status: file === NOT_BUILT ? 503 : status, cache: ASK_AGAIN })
  }
  for (const [name, paths] of Object.entries(PAGES))
    for (const path of paths) router.get(path, ...first, page(name, 200))
  router.get('/assets/:name', ...first, (ctx) => {
    const file = files.get(`assets/${ctx.params.name}`)
    if (file === undefined) return page(NOT_FOUND, 404)(ctx)
    serve(ctx, file, { status: 200, cache: FOR_GOOD })
  })
  router.get('/shop/pictures/:name', ...first, (ctx) => {
    const file = files.get(`pictures/${ctx.params.name}`)
    if (file === undefined) return page(NOT_FOUND, 404)(ctx)
    serve(ctx, file, { status: 200, cache: FOR_A_DAY })
  })
  router.get('/', ...first, (ctx) => ctx.redirect('/shop'))
  router.get(/^\/(shop|console|assets)\//, ...first, page(NOT_FOUND, 404))
  return router
}

function readAll(root: string): Map<string, File> {
  const names = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((name) => extname(name) in TYPES)
  return new Map(
    names.map((name) => [name.replaceAll('\\', '/'), fileOf(extname(name), readFileSync(join(root, name)))]),
  )
}

function fileOf(extension: string, body: Buffer): File {
  const etag = createHash('sha256').update(body).digest('base64url').slice(0, 22)
  return { type: TYPES[extension]!, etag, body, gzipped: gzipSync(body) }
}

const NOT_BUILT = fileOf(
  '.html',
  Buffer.from('<!doctype html><title>Not built</title><p>The pages are not built. Run: npm run build\n'),
)

function serve(ctx: Context, file: File, { status, cache }: { status: number; cache: string }): void {
  const gzip = ctx.acceptsEncodings('gzip', 'identity') === 'gzip'
  ctx.status = status
  ctx.set('Content-Type', file.type)
  ctx.set('Cache-Control', cache)
  ctx.vary('Accept-Encoding')
  // The two are different bytes, which one name must not stand for.
  const etag = `"${file.etag}${gzip ? '-gz' : ''}"`
  ctx.set('ETag', etag)
  if (gzip) ctx.set('Content-Encoding', 'gzip')
  if (status === 200 && matchesNone(ctx, etag)) ctx.status = 304
  else ctx.body = gzip ? file.gzipped : file.body
}
