import { Type } from 'typebox'
import { Sku } from '../stock/schemas.ts'
import type { Popular } from './popular.ts'

/** The shapes of sales on the wire. They validate, and they are the document. */

const Day = (description: string) => Type.String({ format: 'date', description })
/** PostgreSQL knows no year 0, of which a week may be a part. */
const AskedDay = (description: string) =>
  Type.String({
    ...Day(description),
    pattern: '^[1-9]',
    'x-pattern-message': 'must be a day of the year 1000 or later',
  })
const Options = Type.Unsafe<Record<string, string> | null>({ type: ['object', 'null'] })

export const PopularQuery = Type.Object(
  {
    from: Type.Optional(AskedDay('The first day, of `SHOP_TIME_ZONE`; default the sixth day before `to`.')),
    to: Type.Optional(AskedDay('The last day; default today.')),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 100, description: 'Default 5.' })),
  },
  { additionalProperties: false },
)

export const PopularSchema = Type.Object(
  {
    from: Day('The first day that was counted.'),
    to: Day('The last one.'),
    data: Type.Array(
      Type.Object(
        {
          product_id: Type.String({ format: 'uuid' }),
          name: Type.String(),
          image: Type.Unsafe<string | null>({ type: ['string', 'null'] }),
          units_sold: Type.Integer({ minimum: 1, description: 'Of all its SKUs, refunds taken off.' }),
          amount: Type.Integer({ description: 'What was paid for them.' }),
          skus: Type.Array(
            Type.Object(
              { sku: Sku, options: Options, units_sold: Type.Integer(), available: Type.Integer() },
              { additionalProperties: false },
            ),
          ),
        },
        { title: 'PopularProduct', additionalProperties: false },
      ),
      { description: 'Most units first.' },
    ),
  },
  { title: 'Popular', additionalProperties: false },
)

/** Best sellers on the wire. */
export function popularView({ from, to, products }: Popular) {
  return { from, to, data: products }
}
