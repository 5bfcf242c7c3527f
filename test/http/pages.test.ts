import { execFileSync } from 'node:child_process'
import { request } from 'node:http'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gunzipSync } from 'node:zlib'
import { fakeDeps } from './fakes.ts'
import { call, serveFakes, type Serving } from './serving.ts'

/** How the pages get to the browser. */

const BUILD = fileURLToPath(new URL('../../scripts/build_pages.mjs', import.meta.url))

let root: string
let app: Serving

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'stock-pages-'))
  execFileSync(process.execPath, [BUILD, root])
  // What the build would never leave there.
  writeFileSync(join(root, 'secret.txt'), 'not for anybody')
  app = await serveFakes({ pages: { ...fakeDeps().pages, root } })
})

afterAll(async () => {
  await app.close()
  rmSync(root, { recursive: true })
})

const text = async (path: string) => (await call(app, 'GET', path)).body.text as string

/** What a page loads. */
const linksOf = (html: string) => [...html.matchAll(/(?:href|src)="([^"]+)"/g)].map((match) => match[1]!)

test.each(['/shop', '/console'])('%s names only files of its own, and every one of them is served', async (path) => {
  const links = linksOf(await text(path))
  expect(links.length).toBeGreaterThan(2)
  for (const link of links) {
    expect(link).toMatch(/^\/assets\/[a-z]+-[A-Z0-9]{8}\.(js|css|svg)$/)
    expect([link, (await call(app, 'GET', link)).status]).toEqual([link, 200])
  }
})

test.each(['/shop', '/shop/cart', '/shop/orders', '/shop/orders/01941f29-7c00-7000-8000-000000000000', '/console'])(
  '%s is a page, asked for again each time and answered with 304 while it is the same',
  async (path) => {
    const first = await call(app, 'GET', path)
    expect([first.status, first.headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8'])
    expect(first.headers.get('cache-control')).toBe('no-cache')
    const again = await call(app, 'GET', path, { headers: { 'If-None-Match': first.headers.get('etag')! } })
    expect([again.status, again.body.text]).toEqual([304, ''])
    const other = await call(app, 'GET', path, { headers: { 'If-None-Match': '"other"' } })
    expect(other.status).toBe(200)
  },
)

test('what has its hash in its name is kept for good, pictures for a day', async () => {
  const [script] = linksOf(await text('/shop')).filter((link) => link.endsWith('.js'))
  const asset = await call(app, 'GET', script!)
  expect(asset.headers.get('cache-control')).toBe('public, max-age=31536000, immutable')
  expect(asset.headers.get('content-type')).toBe('text/javascript; charset=utf-8')
  const picture = await call(app, 'GET', '/shop/pictures/tee.svg')
  expect(picture.headers.get('cache-control')).toBe('public, max-age=86400')
  expect(picture.headers.get('content-type')).toBe('image/svg+xml')
})

test('who takes gzip gets it, under another name than who does not', async () => {
  const [style] = linksOf(await text('/shop')).filter((link) => link.endsWith('.css'))
  const get = (encoding: string) =>
    new Promise<{ body: Buffer; headers: Record<string, unknown> }>((resolve, reject) => {
      request(`${app.url}${style}`, { headers: { 'Accept-Encoding': encoding } }, (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('end', () => resolve({ body: Buffer.concat(chunks), headers: response.headers }))
      })
        .on('error', reject)
        .end()
    })
  const [plain, zipped] = [await get('identity'), await get('gzip, br')]
  expect([plain.headers['content-encoding'], zipped.headers['content-encoding']]).toEqual([undefined, 'gzip'])
  expect(gunzipSync(zipped.body)).toEqual(plain.body)
  expect(zipped.body.length).toBeLessThan(plain.body.length / 2)
  expect(zipped.headers.etag).not.toBe(plain.headers.etag)
  expect(zipped.headers.vary).toBe('Accept-Encoding')
})

test('runs no script but its own, loads nothing from elsewhere, and stands in no frame', async () => {
  for (const path of ['/shop', '/console', '/shop/nowhere']) {
    const { headers, body } = await call(app, 'GET', path)
    const policy = headers.get('content-security-policy')!
    expect(policy).toContain("default-src 'none'")
    expect(policy).toContain("script-src 'self'")
    expect(policy).toContain("connect-src 'self'")
    expect(policy).toContain("frame-ancestors 'none'")
    expect(policy).not.toContain('unsafe')
    expect(headers.get('x-content-type-options')).toBe('nosniff')
    expect(body.text).not.toMatch(/<script>|<style|onload|style=/)
  }
})

test.each([
  '/shop/nowhere',
  '/shop/orders/a/b',
  '/shop/secret.txt',
  '/shop/pictures/none.svg',
  '/console/nowhere',
  '/assets/none.js',
  '/assets/..%2fsecret.txt',
  '/assets/..%2f..%2fpackage.json',
  '/assets/constructor',
])('%s is answered with a page that says so', async (path) => {
  const { status, headers, body } = await call(app, 'GET', path)
  expect([status, headers.get('content-type')]).toEqual([404, 'text/html; charset=utf-8'])
  expect(headers.get('cache-control')).toBe('no-cache')
  expect(body.text).toContain('There is nothing here')
})

test('a path of the API that is not there is answered as the API answers, through a page’s door too', async () => {
  for (const path of ['/v1/nowhere', '/shop/v1/nowhere', '/console/v1/nowhere', '/nowhere']) {
    expect(await call(app, 'GET', path)).toMatchObject({ status: 404, body: { code: 'not_found' } })
  }
})

test('the first address leads to the shop', async () => {
  const response = await fetch(`${app.url}/`, { redirect: 'manual' })
  expect([response.status, response.headers.get('location')]).toEqual([302, '/shop'])
})

test('before they are built, pages say how to build them', async () => {
  const empty = mkdtempSync(join(tmpdir(), 'stock-pages-'))
  const unbuilt = await serveFakes({ pages: { ...fakeDeps().pages, root: empty } })
  expect(await call(unbuilt, 'GET', '/shop')).toMatchObject({
    status: 503,
    body: { text: expect.stringContaining('npm run build') },
  })
  await unbuilt.close()
  rmSync(empty, { recursive: true })
})

test('a page cannot be changed', async () => {
  const { status, headers } = await call(app, 'POST', '/shop', { headers: { 'Sec-Fetch-Site': 'same-origin' } })
  expect([status, headers.get('allow')]).toEqual([405, expect.stringContaining('GET')])
})
