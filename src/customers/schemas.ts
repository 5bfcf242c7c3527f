import { Type } from 'typebox'
import { NullableText, ONE_LINE, Time } from '../stock/schemas.ts'
import type { AccountEntry, Customer, EntryKind } from './queries.ts'

/** The shapes of customers and their accounts on the wire. They validate, and they are the document. */

/** Of one charge, in the currency's minor unit. */
const AMOUNT_MAX = 1_000_000_000_000

export const CustomerId = Type.String({ format: 'uuid', description: 'A UUIDv7.' })
const Money = Type.Integer({ minimum: 0, description: 'In the minor unit of the currency.' })
const NullableId = Type.Unsafe<string | null>({ type: ['string', 'null'], format: 'uuid' })

export const CustomerSchema = Type.Object(
  {
    id: CustomerId,
    name: Type.String(),
    balance: Money,
    created_at: Time,
  },
  { title: 'Customer', additionalProperties: false },
)

export const CreateCustomer = Type.Object(
  { name: Type.String({ minLength: 1, maxLength: 255, ...ONE_LINE }) },
  { title: 'CreateCustomer', additionalProperties: false },
)

export const ChargeBalance = Type.Object(
  {
    amount: Type.Integer({
      minimum: 1,
      maximum: AMOUNT_MAX,
      description: 'In the minor unit of the currency.',
    }),
  },
  { title: 'ChargeBalance', additionalProperties: false },
)

export const AccountEntrySchema = Type.Object(
  {
    customer_id: CustomerId,
    seq: Type.Integer({ minimum: 1, description: 'Starts at 1 and has no gaps.' }),
    kind: Type.Unsafe<EntryKind>({ type: 'string', enum: ['charge', 'payment', 'refund'] }),
    amount: Type.Integer({
      description:
        'In the minor unit of the currency; below zero for a payment, so that all amounts add up to the balance.',
    }),
    balance_after: Money,
    charge_id: NullableId,
    payment_id: NullableId,
    refund_id: NullableId,
    created_at: Time,
  },
  { title: 'AccountEntry', additionalProperties: false },
)

export const AccountPage = Type.Object(
  { data: Type.Array(AccountEntrySchema), next_cursor: NullableText },
  { title: 'AccountPage', additionalProperties: false },
)

export const CustomerParams = Type.Object({ id: CustomerId }, { additionalProperties: false })

/** A customer on the wire. */
export function customerJson({ id, name, balance, created_at }: Customer): string {
  return JSON.stringify({ id, name, balance, created_at })
}

/** An account's entry on the wire. */
export function entryJson(entry: AccountEntry): string {
  const { customer_id, seq, kind, amount, balance_after, charge_id, payment_id, refund_id, created_at } = entry
  return JSON.stringify({
    customer_id,
    seq,
    kind,
    amount,
    balance_after,
    charge_id,
    payment_id,
    refund_id,
    created_at,
  })
}
