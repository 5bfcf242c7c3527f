import { Type } from 'typebox'
import { NullableText, ONE_LINE, Sku, STOCK_MAX, Time } from '../stock/schemas.ts'
import { SKUS_MAX, type Options, type Product, type ProductStatus } from './product.ts'

/** The shapes of products on the wire. They validate, and they are the document. */

/** In the currency's minor unit. With it a line of a million units still adds up exactly. */
const PRICE_MAX = 2_000_000_000
const OPTIONS_MAX = 5
/** Nothing that a page could take for a script's address. */
const IMAGE_PATTERN = '^(https?://|/(?![/\\\\]))[!-~]*$'

const OptionsSchema = Type.Unsafe<Options>({
  type: 'object',
  title: 'Options',
  description: 'Which one of the product it is, such as `{ "size": "M", "color": "black" }`.',
  minProperties: 1,
  maxProperties: OPTIONS_MAX,
  propertyNames: { type: 'string', minLength: 1, maxLength: 64, ...ONE_LINE },
  additionalProperties: { type: 'string', minLength: 1, maxLength: 64, ...ONE_LINE },
})

/** {@link OptionsSchema}, or null for a product without options. */
export const NullableOptions = Type.Unsafe<Options | null>({
  type: ['object', 'null'],
  description: 'Which one of the product it is; null for a product without options.',
  additionalProperties: { type: 'string' },
})

const Price = Type.Integer({
  minimum: 0,
  maximum: PRICE_MAX,
  description: 'In the minor unit of the currency.',
})
export const StatusSchema = Type.Unsafe<ProductStatus>({
  type: 'string',
  enum: ['draft', 'active', 'archived'],
  description: 'Only active products are sold.',
})
const Name = Type.String({ minLength: 1, maxLength: 255, ...ONE_LINE, description: 'What a customer reads.' })
const Description = { maxLength: 5000 }
const Image = {
  maxLength: 2048,
  pattern: IMAGE_PATTERN,
  'x-pattern-message': 'must be an http(s) address, or a path that begins with one slash',
  description: 'Where the picture is: an http(s) address, or a path on the shop.',
}
const Stock = Type.Integer({ minimum: 0, maximum: STOCK_MAX, description: 'Units on hand.' })

export const ProductSchema = Type.Object(
  {
    id: Type.String({ format: 'uuid', description: 'A UUIDv7.' }),
    name: Type.String(),
    description: NullableText,
    image: NullableText,
    status: StatusSchema,
    skus: Type.Array(
      Type.Object(
        {
          sku: Sku,
          options: NullableOptions,
          price: Price,
          available: Type.Integer({ description: 'Units that can be reserved at the moment of reading.' }),
        },
        { title: 'ProductSku', additionalProperties: false },
      ),
      { description: 'One without options, or one for each combination of them.' },
    ),
    created_at: Time,
    updated_at: Time,
  },
  { title: 'Product', additionalProperties: false },
)

export const ProductPage = Type.Object(
  { data: Type.Array(ProductSchema), next_cursor: NullableText },
  { title: 'ProductPage', additionalProperties: false },
)

export const CreateProduct = Type.Object(
  {
    name: Name,
    description: Type.Optional(Type.String(Description)),
    image: Type.Optional(Type.String(Image)),
    status: Type.Optional(StatusSchema),
    skus: Type.Array(
      Type.Object(
        { sku: Sku, options: Type.Optional(OptionsSchema), price: Price, stock: Stock },
        { title: 'NewSku', additionalProperties: false },
      ),
      {
        minItems: 1,
        maxItems: SKUS_MAX,
        description: 'One SKU without options, or one for each combination, all with the same options. New ones only.',
      },
    ),
  },
  { title: 'CreateProduct', additionalProperties: false },
)

export const ChangeProduct = Type.Object(
  {
    name: Type.Optional(Name),
    description: Type.Optional(Type.Unsafe<string | null>({ type: ['string', 'null'], ...Description })),
    image: Type.Optional(Type.Unsafe<string | null>({ type: ['string', 'null'], ...Image })),
    status: Type.Optional(StatusSchema),
    skus: Type.Optional(
      Type.Array(
        Type.Object(
          {
            sku: Sku,
            options: Type.Optional(OptionsSchema),
            price: Type.Optional(Price),
            stock: Type.Optional(Stock),
          },
          { title: 'SkuChange', additionalProperties: false },
        ),
        {
          minItems: 1,
          maxItems: SKUS_MAX,
          description: 'A SKU of the product: its new `price`. A new one: `price`, `stock` and `options`.',
        },
      ),
    ),
  },
  { title: 'ChangeProduct', additionalProperties: false, minProperties: 1 },
)

export const ProductParams = Type.Object({ id: Type.String({ format: 'uuid' }) }, { additionalProperties: false })

export const ProductFilters = { status: Type.Optional(StatusSchema) }

/** A product on the wire, in the contract's order. */
export function productJson(product: Product): string {
  const { id, name, description, image, status, skus, created_at, updated_at } = product
  return JSON.stringify({ id, name, description, image, status, skus, created_at, updated_at })
}
