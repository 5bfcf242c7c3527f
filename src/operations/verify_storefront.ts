import type { Knex } from 'knex'
import { selectCouponsOff, type CouponFault } from '../coupons/queries.ts'
import { selectAccountsOff, type AccountFault } from '../customers/queries.ts'
import { selectOrdersOff, type OrderFault } from '../orders/queries.ts'
import { selectPaymentsOff, type PaymentFault } from '../payments/queries.ts'
import { selectSalesOff, type SalesFault } from '../sales/queries.ts'
import { check, type Check, type Finding } from './finding.ts'

/** The storefront's promises: what customers own is what their ledgers say. */

/** @param limit faults named for each promise; the rest are only counted */
export async function checkStorefront(tx: Knex.Transaction, limit: number): Promise<Check[]> {
  return [
    check(
      14,
      'every balance is the sum of its entries, and every charge has its entry',
      await selectAccountsOff(tx, limit),
      accountFinding,
    ),
    check(
      15,
      'as many coupons are issued as customers have them, and no more than there are',
      await selectCouponsOff(tx, limit),
      couponFinding,
    ),
    check(
      16,
      'every order is what its hold, its lines, its money, its sales, its coupon and the shelf say',
      await selectOrdersOff(tx, limit),
      orderFinding,
    ),
    check(
      17,
      'captured money has paid for goods, is owed, or went back, to the unit',
      await selectPaymentsOff(tx, limit),
      paymentFinding,
    ),
    check(18, 'the sums of a day are its sales', await selectSalesOff(tx, limit), salesFinding),
  ]
}

function accountFinding(fault: AccountFault): Finding {
  const { customer_id, balance, seq, entries, last_seq, amounts, first_gap, first_miscounted, bare_charges } = fault
  const details: string[] = []
  if (balance === null) details.push('the account has entries, but there is no such customer')
  if (balance !== null && balance < 0) details.push(`the balance is ${balance}`)
  if (first_gap !== null) {
    details.push(`${entries} entries up to seq ${last_seq}, the first gap before seq ${first_gap}`)
  }
  if (first_miscounted !== null) details.push(`seq ${first_miscounted} does not follow from the entry before it`)
  if (balance !== null && seq !== last_seq) details.push(`the account's seq is ${seq}, the last entry's ${last_seq}`)
  if (balance !== null && String(balance) !== amounts) {
    details.push(`the balance is ${balance}, the entries add up to ${amounts}`)
  }
  if (bare_charges > 0) details.push(`${bare_charges} charges without an entry of the same amount`)
  return {
    sku: null,
    reservation_id: null,
    customer_id,
    detail: details.join('; '),
    next_step:
      'the account was written past the service: compare its entries with the payments and with a backup ' +
      `("SELECT * FROM account_entries WHERE customer_id = '${customer_id}' ORDER BY seq"), and correct what is wrong before the ` +
      'customer spends more',
  }
}

function couponFinding(fault: CouponFault): Finding {
  const { code, quantity, issued, issues, last_number, customers, torn, astray } = fault
  const details: string[] = []
  if (quantity === null) details.push(`customers have ${issues}, but there is no such coupon`)
  if (quantity !== null && issued !== issues) details.push(`issued says ${issued}, customers have ${issues}`)
  if (quantity !== null && Math.max(issues, issued ?? 0) > quantity) {
    details.push(`there are ${quantity}, but ${Math.max(issues, issued ?? 0)} were issued`)
  }
  if (issues !== last_number) details.push(`${issues} issues up to number ${last_number}`)
  if (issues !== customers) details.push(`${issues} issues among ${customers} customers`)
  if (torn > 0) details.push(`${torn} used without an order, or with an order and not used`)
  if (astray > 0) details.push(`${astray} used by orders that are not there`)
  return {
    sku: null,
    reservation_id: null,
    coupon_code: code,
    detail: details.join('; '),
    next_step:
      'the coupon or its issues were written past the service: compare both with a backup ' +
      `("SELECT * FROM coupon_issues WHERE code = '${code.replaceAll("'", "''")}' ORDER BY number"), decide who keeps one, then ` +
      'set issued to their number',
  }
}

function orderFinding({ order_id, reservation_id, status, hold, faults }: OrderFault): Finding {
  return {
    sku: null,
    reservation_id,
    order_id,
    detail: `${status}, its hold ${hold ?? 'missing'}: ${faults.join('; ')}`,
    next_step:
      'the order or what it stands on was written past the service: stop its shipment, read it with its payments ' +
      `(GET /v1/orders/${order_id}) and its events, ask the gateway what was really paid, and correct the side that is wrong`,
  }
}

function paymentFinding(fault: PaymentFault): Finding {
  const { payment_id, order_id, status, captured_amount, refunded_amount, owed_amount, faults } = fault
  const money = `captured ${captured_amount}, given back ${refunded_amount}, owed ${owed_amount}`
  return {
    sku: null,
    reservation_id: null,
    ...(order_id === null ? {} : { order_id }),
    payment_id,
    detail: `${status ?? 'not there'}, ${money}: ${faults.join('; ')}`,
    next_step:
      'money and order tell two stories: ask the gateway (or the account) what was really paid and given back, then give back ' +
      'what was paid for nothing',
  }
}

function salesFinding({ day, sku, units, amount, units_sold, amount_sold }: SalesFault): Finding {
  const sum = units === null ? 'no sum' : `the sum says ${units} units for ${amount}`
  return {
    sku,
    reservation_id: null,
    detail: `${day}: ${sum}, its sales say ${units_sold} for ${amount_sold}`,
    next_step:
      'the sums feed the best sellers only: delete those of this day from sales_daily, set day to NULL in its sales, and the ' +
      'next run of the job adds them up again',
  }
}
