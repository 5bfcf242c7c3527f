import type { Knex } from 'knex'
import { selectCouponsOff, type CouponFault } from '../coupons/queries.ts'
import { selectAccountsOff, type AccountFault } from '../customers/queries.ts'
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
  const { code, quantity, issued, issues, last_number, customers, torn } = fault
  const details: string[] = []
  if (quantity === null) details.push(`customers have ${issues}, but there is no such coupon`)
  if (quantity !== null && issued !== issues) details.push(`issued says ${issued}, customers have ${issues}`)
  if (quantity !== null && Math.max(issues, issued ?? 0) > quantity) {
    details.push(`there are ${quantity}, but ${Math.max(issues, issued ?? 0)} were issued`)
  }
  if (issues !== last_number) details.push(`${issues} issues up to number ${last_number}`)
  if (issues !== customers) details.push(`${issues} issues among ${customers} customers`)
  if (torn > 0) details.push(`${torn} used without an order, or with an order and not used`)
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
