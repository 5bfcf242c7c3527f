import { compare, finish, MANY, ONE_SKU, openShop, serve } from '../arms.ts'
import { fillHistory } from '../fill.ts'
import { judgeRatio, type Goal } from '../goal.ts'

/** A year of sales in the tables does not slow the next one down. */

export const history: Goal = {
  id: 11,
  title: 'with earlier reservations in the tables: the rate of one SKU ÷ the rate with none',
  async run(context) {
    const reservations = context.settings.earlier_reservations
    const empty_shop = await openShop(context, MANY)
    const full_shop = await openShop(context, MANY)
    context.progress(`filling in ${reservations.toLocaleString('en-US')} reservations`)
    await fillHistory(full_shop.db, { reservations, skus: MANY })
    const empty = await serve(context, empty_shop)
    const full = await serve(context, full_shop)
    const [after, before] = await compare(context, [
      { name: 'with history', server: full, scenario: ONE_SKU, db: full_shop.db },
      { name: 'with none', server: empty, scenario: ONE_SKU, db: empty_shop.db },
    ])
    return finish(context, [full_shop], {
      arms: [after!, before!],
      rows: [judgeRatio('with history ÷ with none', after!, before!, { at_least: 0.9 })],
      notes: [
        `${reservations.toLocaleString('en-US')} earlier reservations${context.settings.quick ? ' (quick: the goal is set for 10,000,000)' : ''}`,
      ],
    })
  },
}
