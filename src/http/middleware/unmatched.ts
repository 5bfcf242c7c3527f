import type { Layer } from '@koa/router'
import type { Middleware } from 'koa'
import { refuse } from '../problem.ts'
import { send } from '../send.ts'

/** Answers what no route took: OPTIONS with `Allow`, a wrong method with 405, an unknown path with 404. */
export function unmatched(): Middleware {
  return (ctx) => {
    const layers = (ctx.matched as Layer[] | undefined) ?? []
    const allow = [...new Set(layers.flatMap((layer) => layer.methods))].toSorted()
    if (allow.length === 0) return refuse(ctx, { code: 'not_found' })
    if (ctx.method !== 'OPTIONS') return refuse(ctx, { code: 'method_not_allowed', allow: [...allow, 'OPTIONS'] })
    send(ctx, { status: 204, type: '', text: null, headers: ['Allow', [...allow, 'OPTIONS'].join(', ')] })
  }
}
