import { Type } from 'typebox'
import { NullableOptions } from '../catalog/schemas.ts'
import { CustomerId } from '../customers/schemas.ts'
import { LINES_MAX, QUANTITY_MAX } from '../reservations/schemas.ts'
import { NullableText, Sku } from '../stock/schemas.ts'
import type { Cart, CartLine, Problem } from './carts.ts'

/** The shapes of carts on the wire. They validate, and they are the document. */

const NullableMoney = Type.Unsafe<number | null>({
  type: ['integer', 'null'],
  minimum: 0,
  description: 'As of now, in the minor unit of the currency; null for what is not on sale.',
})
const Quantity = Type.Integer({ minimum: 1, maximum: QUANTITY_MAX })

export const CartSchema = Type.Object(
  {
    customer_id: CustomerId,
    lines: Type.Array(
      Type.Object(
        {
          sku: Sku,
          quantity: Quantity,
          product_id: Type.Unsafe<string | null>({ type: ['string', 'null'], format: 'uuid' }),
          name: NullableText,
          options: NullableOptions,
          unit_price: NullableMoney,
          total: NullableMoney,
          available: Type.Integer({
            minimum: 0,
            description: 'Units that could be reserved at the moment of reading.',
          }),
          problem: Type.Unsafe<Problem | null>({
            enum: ['not_on_sale', 'sold_out', 'insufficient_stock', null],
            description: 'Why the line cannot be ordered as it is; null if it can.',
          }),
        },
        { title: 'CartLine', additionalProperties: false },
      ),
      { description: `At most ${LINES_MAX}, in the order in which they were first added.` },
    ),
    subtotal: Type.Integer({ minimum: 0, description: 'The totals of all lines that have a price.' }),
    orderable: Type.Boolean({ description: 'Whether an order of the whole cart would have found prices and stock.' }),
  },
  { title: 'Cart', additionalProperties: false },
)

export const AddToCart = Type.Object(
  { sku: Sku, quantity: Quantity },
  { title: 'AddToCart', additionalProperties: false },
)

export const SetInCart = Type.Object({ quantity: Quantity }, { title: 'SetInCart', additionalProperties: false })

export const CartLineParams = Type.Object({ id: CustomerId, sku: Sku }, { additionalProperties: false })

/** A cart on the wire. */
export function cartJson({ customer_id, lines, subtotal, orderable }: Cart): string {
  return JSON.stringify({ customer_id, lines: lines.map(lineView), subtotal, orderable })
}

function lineView(line: CartLine) {
  const { sku, quantity, product_id, name, options, unit_price, total, available, problem } = line
  return { sku, quantity, product_id, name, options, unit_price, total, available, problem }
}
