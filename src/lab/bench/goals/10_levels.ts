import { skuName, type Scenario } from '../../load/scenario.ts'
import { compare, finish, ONE_SKU, openShop, planOf, serve, serveConstant, warmUp } from '../arms.ts'
import { judge, judgeRatio, type Context, type Goal } from '../goal.ts'
import { ask, type TestedServer } from '../servers.ts'

/** A product page asks what is left. The answer is cheap, and never one that this process knows to be over. */

const READ: Scenario = { kind: 'read', skus: 1 }
const STALE_MS_MAX = 50
/** How long another process is asked again whether it has noticed. */
const NOTICE_MS_MAX = 500

export const levels: Goal = {
  id: 10,
  title: 'GET /v1/stock/{sku}, 256 connections ÷ the constant route; how old an answer may be',
  async run(context) {
    const shop = await openShop(context, 1)
    const service = await serve(context, shop)
    const other = await serve(context, shop)
    const constant = await serveConstant(context, shop)
    const [read, empty] = await compare(context, [
      { name: 'levels', server: service, scenario: READ },
      { name: 'constant route', server: constant, scenario: ONE_SKU },
    ])
    await warmUp(context, [{ name: 'the other process', server: other, scenario: READ }])
    const own = await probe(context, { writer: service, reader: service })
    const across = await probe(context, { writer: service, reader: other })
    return finish(context, [shop], {
      arms: [read!, empty!],
      rows: [
        judgeRatio('levels ÷ constant route', read!, empty!, { at_least: 0.9 }),
        judge(`answers older than this process's last commit, of ${own.probes}`, own.stale, { at_most: 0 }),
        judge('oldest answer across processes, ms', across.oldest_ms, { at_most: STALE_MS_MAX }),
      ],
      notes: [`across processes ${across.stale} of ${across.probes} first looks were older than the commit`],
    })
  },
}

/** Reserves in one process and looks in the other right after the answer, while many others look too. */
async function probe(
  context: Context,
  { writer, reader }: { writer: TestedServer; reader: TestedServer },
): Promise<{ probes: number; stale: number; oldest_ms: number }> {
  const { api_key } = context.databases
  const { probes } = context.settings
  context.progress(writer === reader ? 'fresh in its own process' : 'fresh across processes')
  const arm = { name: 'levels', server: reader, scenario: READ, connections: 64 }
  const load = context.drivers.drive(planOf(context, arm, 1 + probes * 0.03))
  let stale = 0
  let oldest_ms = 0
  try {
    for (let i = 0; i < probes; i++) {
      const body = { lines: [{ sku: skuName(1), quantity: 1 }] }
      const held_before = await reservedAt(reader, api_key)
      const answer = await ask(writer.port, { method: 'POST', path: '/v1/reservations', api_key, body })
      if (answer.status !== 201) throw new Error(`a probe was answered ${answer.status}`)
      const committed = performance.now()
      let asked = committed
      let fresh = (await reservedAt(reader, api_key)) > held_before
      if (!fresh) stale++
      while (!fresh && asked - committed < NOTICE_MS_MAX) {
        oldest_ms = Math.max(oldest_ms, asked - committed)
        asked = performance.now()
        fresh = (await reservedAt(reader, api_key)) > held_before
      }
      if (!fresh) oldest_ms = NOTICE_MS_MAX
    }
  } finally {
    await load
  }
  return { probes, stale, oldest_ms }
}

async function reservedAt(server: TestedServer, api_key: string): Promise<number> {
  const level = await ask(server.port, { method: 'GET', path: `/v1/stock/${skuName(1)}`, api_key })
  return Number(level.body['temp_reserved_stock'])
}
