import type { Scenario } from '../../load/scenario.ts'
import { compare, finish, MANY, openShop, pgbenchArm, serve, serveBestConditional } from '../arms.ts'
import { countReservations } from '../database.ts'
import { judgeRatio, type Arm, type Context, type Goal } from '../goal.ts'
import { countNaive, createNaiveTables, NAIVE_ORDER_SCRIPT, ORDER_SCRIPT } from '../opponents.ts'
import type { BenchDatabase } from '../database.ts'

/** Orders of five lines that all want one SKU: each transaction of its own would keep it locked for several round trips. */

const ORDERS: Scenario = { kind: 'reserve', skus: MANY, lines: 5, hot: true }

export const orders: Goal = {
  id: 5,
  title: 'orders of five lines, one of them hot ÷ one transaction per order with sorted locks',
  async run(context) {
    const shop = await openShop(context, MANY)
    const opponent = await openShop(context, MANY)
    await createNaiveTables(opponent.db, MANY)
    const conditional = await serveBestConditional(context, opponent, ORDERS)
    const service = await serve(context, shop)
    const [batched, alone, ...benches] = await compare(
      context,
      [
        { name: 'service', server: service, scenario: ORDERS, db: shop.db },
        {
          name: `conditional, ${conditional.connections} connections`,
          server: conditional.server,
          scenario: ORDERS,
          db: opponent.db,
        },
      ],
      await transactionsUnderPgbench(context, opponent),
    )
    const [same_rows, naive_rows] = benches
    // Whichever writes the same rows and is faster is the one to be measured against.
    const best = same_rows !== undefined && same_rows.median > alone!.median ? same_rows : alone!
    return finish(context, [shop, opponent], {
      arms: [batched!, alone!, ...benches],
      rows: [
        judgeRatio('orders ÷ one transaction per order', batched!, best, { at_least: 4 }),
        ...(naive_rows === undefined ? [] : [judgeRatio('orders ÷ naive tables', batched!, naive_rows, null)]),
      ],
    })
  },
}

async function transactionsUnderPgbench(context: Context, database: BenchDatabase): Promise<Arm[]> {
  if (context.pgbench === undefined) return []
  return [
    await pgbenchArm(context, {
      name: 'pgbench, the same rows',
      database,
      script: ORDER_SCRIPT,
      count: async () => (await countReservations(database.db)).all,
    }),
    await pgbenchArm(context, {
      name: 'pgbench, naive tables',
      database,
      script: NAIVE_ORDER_SCRIPT,
      count: () => countNaive(database.db),
    }),
  ]
}
