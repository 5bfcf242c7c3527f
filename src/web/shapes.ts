import type { components } from '../client/schema.ts'

/** What the pages read, by the names of the contract. */

type Schemas = components['schemas']

export type Product = Schemas['Product']
export type ProductSku = Product['skus'][number]
export type Cart = Schemas['Cart']
export type CartLine = Cart['lines'][number]
export type Customer = Schemas['Customer']
export type Order = Schemas['Order']
export type OrderPage = Schemas['OrderPage']
export type OrderStatus = Order['status']
export type Payment = Schemas['Payment']
export type Coupon = Schemas['IssuedCoupon']
export type Stats = Schemas['Stats']

/** Why a payment failed, as far as there are words for it. */
export type PaymentFailure = 'insufficient_balance' | 'card_declined' | 'card_blocked' | 'cancelled_by_buyer' | 'other'

/** Who shops. */
export type ShopSession = {
  customer: Customer | null
  demo_login: boolean
  customers: { id: string; name: string }[]
  currency: string
  now: string
}

/** Who runs the console. */
export type ConsoleSession = { client: string | null; open: boolean; currency: string; now: string }
