import { send } from '@koa/send'
import Router from '@koa/router'
import type { Context } from 'koa'
import { createRequire } from 'node:module'
import { dirname } from 'node:path'
import type { RequestMeter } from '../metrics.ts'
import { API_HEADERS, DOCS_HEADERS, pageHeaders } from './middleware/security_headers.ts'
import { documentedProblems } from './problem.ts'
import { metered } from './router.ts'

/** The documentation pages: from this process alone, without a CDN and without a line of inline script. */

const SWAGGER_UI = dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json'))
const ASSETS = ['swagger-ui.css', 'swagger-ui-bundle.js', 'favicon-32x32.png']
const CACHED_MS = 86_400_000

/**
 * @param document the OpenAPI document, as text
 * @param meter all of them are one route to the metrics
 */
export function docsRouter(document: string, meter: RequestMeter): Router {
  const router = new Router({ strict: true, sensitive: true })
  const headers = pageHeaders(DOCS_HEADERS)
  const metering = metered(meter)
  for (const [path, { type, text }] of Object.entries(PAGES)) {
    router.get(path, metering, headers, (ctx) => sendText(ctx, type, text))
  }
  for (const file of ASSETS) {
    router.get(`/docs/${file}`, metering, headers, async (ctx) => {
      await send(ctx, file, { root: SWAGGER_UI, maxage: CACHED_MS })
    })
  }
  router.get('/openapi.json', metering, pageHeaders(API_HEADERS), (ctx) => sendText(ctx, JSON_TYPE, document))
  return router
}

function sendText(ctx: Context, type: string, text: string): void {
  ctx.set('Content-Type', type)
  ctx.body = text
}

const JSON_TYPE = 'application/json; charset=utf-8'
const HTML = 'text/html; charset=utf-8'

const INDEX = `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>Stock reservation service</title>
    <link rel="icon" href="/docs/favicon-32x32.png">
    <link rel="stylesheet" href="/docs/swagger-ui.css">
  </head>
  <body>
    <div id="swagger-ui"></div>
    <script src="/docs/swagger-ui-bundle.js"></script>
    <script src="/docs/start.js"></script>
  </body>
</html>
`

/** validatorUrl would send the document to swagger.io. */
const START = `SwaggerUIBundle({
  url: '/openapi.json',
  dom_id: '#swagger-ui',
  deepLinking: true,
  docExpansion: 'list',
  defaultModelsExpandDepth: 0,
  persistAuthorization: false,
  validatorUrl: null,
})
`

const STYLE = `body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
h2 { margin: 2rem 0 0; font-size: 1.1rem } h2 small { color: #666; font-weight: normal } p { margin: .3rem 0 }
code { font: .92em ui-monospace, monospace; background: #f2f2f2; padding: 0 .25em; border-radius: 3px }
h2:target code { background: #ffe9a8 }
`

function errorsPage(): string {
  const seen = new Set<string>()
  const entries = documentedProblems().map(({ code, status, title, about }) => {
    // Some codes stand for two refusals.
    const id = seen.has(code) ? '' : ` id="${code}"`
    seen.add(code)
    return `<h2${id}><code>${code}</code> <small>${status}</small></h2>\n<p><strong>${title}.</strong> ${toHtml(about)}</p>`
  })
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Error codes</title><link rel="stylesheet" href="/docs/errors.css"></head>
<body>
<h1>Error codes</h1>
<p>Errors are <code>application/problem+json</code>; switch on <code>code</code>. <a href="/docs">The API</a></p>
${entries.join('\n')}
</body>
</html>
`
}

function toHtml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll(/`([^`]+)`/g, '<code>$1</code>')
}

const PAGES: Record<string, { type: string; text: string }> = {
  '/docs': { type: HTML, text: INDEX },
  '/docs/start.js': { type: 'text/javascript; charset=utf-8', text: START },
  '/docs/errors': { type: HTML, text: errorsPage() },
  '/docs/errors.css': { type: 'text/css; charset=utf-8', text: STYLE },
}
