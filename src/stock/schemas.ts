import { Type } from 'typebox'
import { isoTime } from '../iso_time.ts'
import type { Level } from './levels.ts'
import type { LedgerEntry } from './ledger.ts'

/** The shapes of stock on the wire. They validate, and they are the document. */

export const STOCK_MAX = 2_000_000_000
/** Items of a bulk call. */
const ITEMS_MAX = 1000
/** SKUs that one read may name. */
const SKUS_MAX = 200

/** Text on one line: no control characters, no space at either end. */
export const ONE_LINE = {
  pattern: '^(?!\\s)[^\\p{Cc}]*(?<!\\s)$',
  'x-pattern-message': 'must have no control characters and no space at either end',
}

export const Sku = Type.String({
  description: 'Names what is counted. Case-sensitive; percent-encoded in a path.',
  examples: ['TSHIRT-M-BLACK'],
  minLength: 1,
  maxLength: 128,
  ...ONE_LINE,
})

export const Time = Type.String({ format: 'date-time', description: 'ISO 8601, UTC, with milliseconds.' })
export const Reference = Type.String({ maxLength: 255, description: 'Your own name for it, such as an order number.' })
const Units = Type.Integer({ minimum: 0, maximum: STOCK_MAX })
export const NullableText = Type.Unsafe<string | null>({ type: ['string', 'null'] })
export const NullableTime = Type.Unsafe<Date | null>({ type: ['string', 'null'], format: 'date-time' })

export const LevelSchema = Type.Object(
  {
    sku: Sku,
    stock: Type.Integer({ minimum: 0, maximum: STOCK_MAX, description: 'Units on hand and not sold.' }),
    temp_reserved_stock: Type.Integer({ minimum: 0, description: 'Units held by pending reservations.' }),
    available: Type.Integer({ minimum: 0, description: 'stock − temp_reserved_stock' }),
    seq: Type.Integer({ minimum: 0, description: 'The number of the last change; the ETag.' }),
    updated_at: Time,
  },
  { title: 'Level', additionalProperties: false },
)

export const LevelItems = Type.Object(
  { items: Type.Array(LevelSchema) },
  { title: 'LevelItems', additionalProperties: false },
)

export const LevelPage = Type.Object(
  { data: Type.Array(LevelSchema), next_cursor: NullableText },
  { title: 'LevelPage', additionalProperties: false },
)

export const LedgerEntrySchema = Type.Object(
  {
    seq: Type.Integer({ minimum: 1, description: 'Starts at 1 and has no gaps.' }),
    kind: Type.Unsafe<LedgerEntry['kind']>({
      type: 'string',
      enum: ['set', 'adjust', 'reserve', 'confirm', 'release', 'expire'],
    }),
    stock_delta: Type.Integer(),
    reserved_delta: Type.Integer(),
    stock_after: Units,
    reserved_after: Units,
    reference: Type.Unsafe<string | null>({
      type: ['string', 'null'],
      description: "The reservation's id where there is one, else what the adjustment was given.",
    }),
    reason: NullableText,
    created_at: Time,
  },
  { title: 'LedgerEntry', additionalProperties: false },
)

export const LedgerPage = Type.Object(
  { data: Type.Array(LedgerEntrySchema), next_cursor: NullableText },
  { title: 'LedgerPage', additionalProperties: false },
)

export const SkuParams = Type.Object({ sku: Sku }, { additionalProperties: false })

export const SetStock = Type.Object({ stock: Units }, { title: 'SetStock', additionalProperties: false })

export const SetStockItems = Type.Object(
  {
    items: Type.Array(Type.Object({ sku: Sku, stock: Units }, { additionalProperties: false }), {
      minItems: 1,
      maxItems: ITEMS_MAX,
      description: 'Each SKU once.',
    }),
  },
  { title: 'SetStockItems', additionalProperties: false },
)

export const AdjustStock = Type.Object(
  {
    items: Type.Array(
      Type.Object(
        {
          sku: Sku,
          delta: Type.Integer({ minimum: -STOCK_MAX, maximum: STOCK_MAX, description: 'Units, up or down.' }),
          reason: Type.Optional(Type.String({ maxLength: 255 })),
        },
        { additionalProperties: false },
      ),
      { minItems: 1, maxItems: ITEMS_MAX, description: 'Applied in order; a SKU may appear more than once.' },
    ),
    reference: Type.Optional(Reference),
  },
  { title: 'AdjustStock', additionalProperties: false },
)

export const StockQuery = Type.Object(
  {
    sku: Type.Optional(
      Type.Array(Sku, {
        minItems: 1,
        maxItems: SKUS_MAX,
        description: 'Repeat it to read many; unknown SKUs are left out.',
      }),
    ),
    available: Type.Optional(
      Type.Boolean({ description: 'true: only SKUs with units available; false: all of them, the default.' }),
    ),
  },
  { additionalProperties: false },
)

export const StreamQuery = Type.Object(
  {
    sku: Type.Optional(
      Type.Array(Sku, {
        minItems: 1,
        maxItems: SKUS_MAX,
        description: 'Repeat it to watch many; one that does not exist yet is told when it does.',
      }),
    ),
  },
  { additionalProperties: false },
)

/** A level as JSON, in the contract's order. Put together by hand: every reader of a product page asks for one. */
export function levelJson(level: Level): string {
  return `{"sku":${JSON.stringify(level.sku)},"stock":${level.stock},"temp_reserved_stock":${
    level.temp_reserved_stock
  },"available":${level.available},"seq":${level.seq},"updated_at":"${isoTime(level.updated_at)}"}`
}

/** A ledger entry as JSON, in the contract's order. */
export function ledgerEntryJson(entry: LedgerEntry): string {
  return JSON.stringify({
    seq: entry.seq,
    kind: entry.kind,
    stock_delta: entry.stock_delta,
    reserved_delta: entry.reserved_delta,
    stock_after: entry.stock_after,
    reserved_after: entry.reserved_after,
    reference: entry.reference,
    reason: entry.reason,
    created_at: entry.created_at,
  })
}
