import {
  compare,
  finish,
  MANY,
  MANY_SKUS,
  ONE_SKU,
  openShop,
  pgbenchArm,
  serve,
  serveBare,
  serveBestConditional,
} from '../arms.ts'
import { invalid, judgeRatio, withoutDriverFaults, type Goal, type Row } from '../goal.ts'
import { countNaive, createNaiveTables, naiveScript } from '../opponents.ts'
import { INSTALL_PGBENCH } from '../pgbench.ts'
import type { Series } from '../series.ts'

/** A hot SKU is no worse than many; and where nobody is in anybody's way, one queue still beats many transactions. */

const NAIVE = '10,000 SKUs ÷ naive statement'
const NAIVE_TARGET = { at_least: 0.9 }

export const manySkus: Goal = {
  id: 3,
  title: 'one SKU ÷ 10,000 SKUs; 10,000 SKUs ÷ conditional, ÷ the naive statement under pgbench',
  async run(context) {
    const shop = await openShop(context, MANY)
    await createNaiveTables(shop.db, MANY)
    const conditional = await serveBestConditional(context, shop, MANY_SKUS)
    const service = await serve(context, shop)
    const opponents =
      context.pgbench === undefined
        ? []
        : [
            await pgbenchArm(context, {
              name: 'naive statement',
              database: shop,
              script: naiveScript(MANY),
              count: () => countNaive(shop.db),
            }),
          ]
    const [one, many, alone, node, bench] = await compare(
      context,
      [
        { name: 'one SKU', server: service, scenario: ONE_SKU, db: shop.db },
        { name: '10,000 SKUs', server: service, scenario: MANY_SKUS, db: shop.db },
        {
          name: `conditional, ${conditional.connections} connections`,
          server: conditional.server,
          scenario: MANY_SKUS,
          db: shop.db,
        },
        { name: 'bare node:http', server: await serveBare(context, 'node'), scenario: ONE_SKU },
      ],
      opponents,
    )
    const bare = withoutDriverFaults(node!)
    const rows = [
      judgeRatio('one SKU ÷ 10,000 SKUs', one!, many!, { at_least: 0.9 }),
      judgeRatio('10,000 SKUs ÷ conditional', many!, alone!, { at_least: 1.5 }),
      againstNaive(many!, bench),
      // The ceiling of any service in one process of Node.
      ...(bench === undefined ? [] : [judgeRatio('bare node:http ÷ naive statement', bare, bench, null)]),
    ]
    return finish(context, [shop], { arms: [one!, many!, alone!, bare, ...(bench === undefined ? [] : [bench])], rows })
  },
}

function againstNaive(many: Series, bench: Series | undefined): Row {
  return bench === undefined
    ? invalid(NAIVE, NAIVE_TARGET, INSTALL_PGBENCH)
    : judgeRatio(NAIVE, many, bench, NAIVE_TARGET)
}
