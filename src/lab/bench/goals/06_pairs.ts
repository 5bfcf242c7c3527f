import { compare, finish, ONE_SKU, openShop, serve } from '../arms.ts'
import { judgeRatio, type Goal } from '../goal.ts'

/** A sale is two requests, and the second costs no more than the first. */

export const pairs: Goal = {
  id: 6,
  title: 'reserve then confirm, both over HTTP: pairs per second ÷ the rate of reserving alone',
  async run(context) {
    const shop = await openShop(context, 1)
    const service = await serve(context, shop)
    const [sold, reserved] = await compare(context, [
      {
        name: 'reserve and confirm',
        server: service,
        scenario: { kind: 'pair', skus: 1 },
        db: shop.db,
        counted: 'pairs',
      },
      { name: 'reserve', server: service, scenario: ONE_SKU, db: shop.db },
    ])
    return finish(context, [shop], {
      arms: [sold!, reserved!],
      rows: [judgeRatio('pairs ÷ one SKU', sold!, reserved!, { at_least: 0.45 })],
    })
  },
}
