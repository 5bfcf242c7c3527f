/** One thing that breaks a promise, named by whatever it is about, and what to do about it. */
export type Finding = {
  sku: string | null
  reservation_id: string | null
  customer_id?: string
  coupon_code?: string
  order_id?: string
  payment_id?: string
  detail: string
  next_step: string
}

/** One promise of the design: how many break it, the first of them by name. */
export type Check = { promise: number; title: string; broken: number; findings: Finding[] }

/** A promise and the first faults found in it, each of which carries the count of all. */
export function check<Fault extends { broken: number }>(
  promise: number,
  title: string,
  faults: readonly Fault[],
  describe: (fault: Fault) => Finding,
): Check {
  return { promise, title, broken: faults[0]?.broken ?? 0, findings: faults.map(describe) }
}
