import Router from '@koa/router'
import type { Context } from 'koa'
import type { RequestMeter } from '../../metrics.ts'
import { receive } from '../../http/middleware/read_body.ts'
import { DOCS_HEADERS, pageHeaders } from '../../http/middleware/security_headers.ts'
import { refuse } from '../../http/problem.ts'
import { metered } from '../../http/router.ts'
import { readBehaviour } from './behaviour.ts'
import { PAGE_PATH, type Choice, type DevelopmentGateway } from './gateway.ts'
import { paymentPage, STYLE } from './page.ts'

/** The pages of the development gateway, which the shop sends its buyers to. They belong to no API and need no key. */

const FORM_BYTES_MAX = 4096
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i
const CHOICES: readonly Choice[] = ['approve', 'decline', 'fail', 'cancel']
const NO_CHOICE = { path: '/choice', message: `must be one of ${CHOICES.join(', ')}, in a form` }

/** The buyer is sent back to the shop by the answer to the form, which a browser takes for a part of it. */
const HEADERS: typeof DOCS_HEADERS = {
  ...DOCS_HEADERS,
  contentSecurityPolicy: {
    useDefaults: false,
    directives: {
      defaultSrc: ["'none'"],
      styleSrc: ["'self'"],
      baseUri: ["'none'"],
      formAction: ["'self'", 'http:', 'https:'],
      frameAncestors: ["'none'"],
    },
  },
}

/** @param meter all of them are one route to the metrics */
export function developmentGatewayRouter(gateway: DevelopmentGateway, meter: RequestMeter): Router {
  const router = new Router({ strict: true, sensitive: true })
  const headers = pageHeaders(HEADERS)
  const metering = metered(meter)
  router.get('/gateway/development/style.css', metering, headers, (ctx) => {
    ctx.type = 'text/css; charset=utf-8'
    ctx.body = STYLE
  })
  router.get(`${PAGE_PATH}/:id`, metering, headers, async (ctx) => {
    const payment = await gateway.read(idOf(ctx))
    if (payment === undefined) return refuse(ctx, { code: 'payment_not_found', id: idOf(ctx) })
    ctx.type = 'text/html; charset=utf-8'
    ctx.body = paymentPage(payment)
  })
  router.post(`${PAGE_PATH}/:id`, metering, headers, async (ctx) => {
    const bytes = await receive(ctx.req, FORM_BYTES_MAX)
    if (typeof bytes === 'string') return refuse(ctx, { code: 'payload_too_large', limit_bytes: FORM_BYTES_MAX })
    const form = new URLSearchParams(bytes.toString('latin1'))
    const choice = CHOICES.find((one) => one === form.get('choice'))
    if (choice === undefined) return refuse(ctx, { code: 'invalid_request', errors: [NO_CHOICE] })
    const payment = await gateway.choose(idOf(ctx), choice, readBehaviour(form))
    if (payment === undefined) return refuse(ctx, { code: 'payment_not_found', id: idOf(ctx) })
    // What was declined may be tried again, here.
    const stays = payment.status === 'declined' || payment.return_url === null
    ctx.redirect(stays ? `${PAGE_PATH}/${payment.payment_id}` : payment.return_url!)
    ctx.status = SEE_OTHER
  })
  return router
}

const SEE_OTHER = 303
/** What nobody has, so that a path that is no UUID is answered like an unknown one. */
const NOBODYS = '00000000-0000-0000-0000-000000000000'

function idOf(ctx: Context): string {
  const { id } = ctx.params as { id: string }
  return UUID.test(id) ? id : NOBODYS
}
