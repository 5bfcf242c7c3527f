import Router from '@koa/router'
import type { Context } from 'koa'
import type { RequestMeter } from '../../metrics.ts'
import { DOCS_HEADERS, pageHeaders } from '../../http/middleware/security_headers.ts'
import { metered } from '../../http/router.ts'
import { readBehaviour } from './behaviour.ts'
import { PAGE_PATH, type Choice, type DevelopmentGateway } from './gateway.ts'
import { paymentPage, STYLE } from './page.ts'

/** The pages of the development gateway, which the shop sends its buyers to. They belong to no API and need no key. */

const FORM_BYTES_MAX = 4096
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i
const CHOICES: readonly string[] = ['approve', 'decline', 'fail', 'cancel'] satisfies Choice[]

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
    if (payment === undefined) return
    ctx.type = 'text/html; charset=utf-8'
    ctx.body = paymentPage(payment)
  })
  router.post(`${PAGE_PATH}/:id`, metering, headers, async (ctx) => {
    const form = await readForm(ctx)
    const choice = form.get('choice') ?? ''
    const behaviour = readBehaviour(form)
    const payment = CHOICES.includes(choice)
      ? await gateway.choose(idOf(ctx), choice as Choice, behaviour)
      : await gateway.read(idOf(ctx))
    if (payment === undefined) return
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

async function readForm(ctx: Context): Promise<URLSearchParams> {
  let text = ''
  for await (const chunk of ctx.req as AsyncIterable<Buffer>) {
    text += chunk.toString('latin1')
    if (text.length > FORM_BYTES_MAX) return new URLSearchParams()
  }
  return new URLSearchParams(text)
}
