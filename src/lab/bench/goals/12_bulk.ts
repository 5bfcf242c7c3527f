import { compare, finish, ONE_SKU, openShop, serve } from '../arms.ts'
import { judgeRatio, type Goal } from '../goal.ts'

/** Who has five hundred reservations at once pays for one request. */

const BATCH: number = 500
/** With these the queue, which takes 10,000, is full enough and never too full. */
const CONNECTIONS = 8
/** With 4,000 waiting a machine that stalls for half a second makes some wait too long: they are refused, and not counted. */
const TOO_BUSY = [503]

export const bulk: Goal = {
  id: 12,
  title: 'reservations per second through POST /v1/reservations/batch of 500 ÷ the rate of one SKU',
  async run(context) {
    const shop = await openShop(context, 1)
    const service = await serve(context, shop)
    const [batches, single] = await compare(context, [
      {
        name: `batches of ${BATCH}, ${CONNECTIONS} connections`,
        server: service,
        scenario: { kind: 'batch', skus: 1, size: BATCH },
        connections: CONNECTIONS,
        tolerate: TOO_BUSY,
        db: shop.db,
      },
      { name: 'one at a time', server: service, scenario: ONE_SKU, tolerate: TOO_BUSY, db: shop.db },
    ])
    return finish(context, [shop], {
      arms: [batches!, single!],
      rows: [judgeRatio('batch ÷ one SKU', batches!, single!, { at_least: 1.5 })],
    })
  },
}
