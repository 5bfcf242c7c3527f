import { skuName, type Scenario } from '../../load/scenario.ts'
import { compare, finish, ONE_SKU, openShop, planOf, serve, serveConstant } from '../arms.ts'
import { stockUp } from '../database.ts'
import { judge, judgeRatio, type Context, type Goal } from '../goal.ts'
import { ask, type TestedServer } from '../servers.ts'

/** Most of a flash sale is saying no. A refusal is cheap, and still never rests on an old number. */

const SOLD_OUT: Scenario = { kind: 'refused', skus: 1 }
/** More than the others can take before the probe asks. */
const DELIVERY = 1000

export const soldOut: Goal = {
  id: 4,
  title: 'sold out: refusals, each resting on a read begun after the request arrived ÷ the constant route',
  async run(context) {
    const shop = await openShop(context, 1)
    await stockUp(shop.db, 1, 0)
    const service = await serve(context, shop)
    const constant = await serveConstant(context, shop)
    const [refused, empty] = await compare(context, [
      { name: 'refusals', server: service, scenario: SOLD_OUT, db: shop.db, counted: 'answers' },
      { name: 'constant route', server: constant, scenario: ONE_SKU },
    ])
    const stale = await countStaleRefusals(context, service)
    return finish(context, [shop], {
      arms: [refused!, empty!],
      rows: [
        judgeRatio('refusals ÷ constant route', refused!, empty!, { at_least: 1 }),
        judge(`refusals that were out of date, of ${context.settings.probes}`, stale, { at_most: 0 }),
      ],
    })
  },
}

/** While refusals are asked for, units come in again and again: who asks after that must get one. */
async function countStaleRefusals(context: Context, server: TestedServer): Promise<number> {
  const { api_key } = context.databases
  const { probes } = context.settings
  const arm = { name: 'refusals', server, scenario: SOLD_OUT, connections: 16 }
  // Those who ask meanwhile take units too.
  const load = context.drivers.drive({ ...planOf(context, arm, 2 + probes * 0.02), tolerate: [201] })
  let stale = 0
  try {
    for (let probe = 0; probe < probes; probe++) {
      const level = await ask(server.port, { method: 'GET', path: `/v1/stock/${skuName(1)}`, api_key })
      const held = Number(level.body['temp_reserved_stock'])
      const stock = { stock: held + DELIVERY }
      await ask(server.port, { method: 'PUT', path: `/v1/stock/${skuName(1)}`, api_key, body: stock })
      const body = { lines: [{ sku: skuName(1), quantity: 1 }] }
      const answer = await ask(server.port, { method: 'POST', path: '/v1/reservations', api_key, body })
      if (answer.status !== 201) stale++
      await sellOut(server, api_key)
    }
  } finally {
    await load
  }
  return stale
}

/** Takes the units that are left off the shelf. */
async function sellOut(server: TestedServer, api_key: string): Promise<void> {
  for (let attempt = 0; attempt < 20; attempt++) {
    const level = await ask(server.port, { method: 'GET', path: `/v1/stock/${skuName(1)}`, api_key })
    const left = Number(level.body['available'])
    if (left === 0) return
    const body = { items: [{ sku: skuName(1), delta: -left }] }
    const taken = await ask(server.port, { method: 'POST', path: '/v1/stock/adjustments', api_key, body })
    if (taken.status === 201) return
  }
}
