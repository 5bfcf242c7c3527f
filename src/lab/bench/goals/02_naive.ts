import { finish, compare, ONE_SKU, openShop, pgbenchArm, serve, serveBare } from '../arms.ts'
import { invalid, judgeRatio, withoutDriverFaults, type Goal } from '../goal.ts'
import { countNaive, createNaiveTables, naiveScript } from '../opponents.ts'
import { INSTALL_PGBENCH } from '../pgbench.ts'

/** A transaction for each buyer, without HTTP, keys, ledger or events, and still bound by one row's commits. */

const LABEL = 'one SKU ÷ naive statement'
const TARGET = { at_least: 7 }

export const naive: Goal = {
  id: 2,
  title: 'one SKU: durable reservations ÷ the naive statement under pgbench',
  async run(context) {
    if (context.pgbench === undefined) return { arms: [], rows: [invalid(LABEL, TARGET, INSTALL_PGBENCH)], notes: [] }
    const shop = await openShop(context, 1)
    await createNaiveTables(shop.db, 1)
    const service = await serve(context, shop)
    const opponent = await pgbenchArm(context, {
      name: 'naive statement',
      database: shop,
      script: naiveScript(1),
      count: () => countNaive(shop.db),
    })
    const [reserved, node, bench] = await compare(
      context,
      [
        { name: 'service', server: service, scenario: ONE_SKU, db: shop.db },
        { name: 'bare node:http', server: await serveBare(context, 'node'), scenario: ONE_SKU },
      ],
      [opponent],
    )
    const bare = withoutDriverFaults(node!)
    return finish(context, [shop], {
      arms: [reserved!, bare, bench!],
      rows: [
        judgeRatio(LABEL, reserved!, bench!, TARGET),
        // The ceiling of any service in one process of Node.
        judgeRatio('bare node:http ÷ naive statement', bare, bench!, null),
      ],
    })
  },
}
