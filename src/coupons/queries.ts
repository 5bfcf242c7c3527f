import { arrayOf } from '../database/array.ts'
import { rows, type Executor } from '../database/transaction.ts'

export type Coupon = {
  code: string
  discount_percent: number | null
  /** In the currency's minor unit. */
  discount_amount: number | null
  /** How many there are, and how many were issued. */
  quantity: number
  issued: number
  created_at: Date
}

const COUPON = 'code, discount_percent, discount_amount, quantity, issued, created_at'

export type CouponRow = Pick<Coupon, 'code' | 'discount_percent' | 'discount_amount' | 'quantity'> & {
  client: string
  key: string | null
  request_hash: string | null
}

/** Adds a coupon and claims its key; false if the code or the key is taken. Waits for a twin in flight. */
export async function insertCoupon(db: Executor, coupon: CouponRow): Promise<boolean> {
  const { code, discount_percent, discount_amount, quantity, client, key, request_hash } = coupon
  const inserted = await rows(
    db,
    `INSERT INTO coupons (code, discount_percent, discount_amount, quantity, client, idempotency_key, request_hash)
     VALUES (?, ?::integer, ?::bigint, ?::integer, ?, ?, decode(?, 'hex'))
     ON CONFLICT DO NOTHING RETURNING code`,
    [code, discount_percent, discount_amount, quantity, client, key, request_hash],
  )
  return inserted.length === 1
}

/** The coupon that a key made. */
export async function selectCouponByKey(
  db: Executor,
  client: string,
  key: string,
): Promise<{ code: string; request_hash: string } | undefined> {
  const [coupon] = await rows<{ code: string; request_hash: string }>(
    db,
    `SELECT code, encode(request_hash, 'hex') AS request_hash FROM coupons WHERE client = ? AND idempotency_key = ?`,
    [client, key],
  )
  return coupon
}

/** A coupon, and how many of it were issued so far; undefined if there is none. */
export async function selectCoupon(db: Executor, code: string): Promise<Coupon | undefined> {
  const [coupon] = await rows<Coupon>(db, `SELECT ${COUPON} FROM coupons WHERE code = ?`, [code])
  return coupon
}

/** Locks a coupon's counter. Statements behind it see what it had to wait for. */
export async function lockCoupon(db: Executor, code: string): Promise<void> {
  await rows(db, `SELECT 1 FROM coupons WHERE code = ? FOR NO KEY UPDATE`, [code])
}

export type IssueState = 'issued' | 'used'

/** A coupon that a customer has. */
export type Issue = {
  code: string
  /** Its place in the order of arrival, from 1. */
  number: number
  customer_id: string
  state: IssueState
  /** The order that uses it. */
  order_id: string | null
  issued_at: Date
}

/** An issue as it is stored, with the key that made it. */
export type StoredIssue = Issue & { client: string; idempotency_key: string | null; request_hash: string | null }

const ISSUE = 'code, number, customer_id, state, order_id, issued_at'
const STORED = `${ISSUE}, client, idempotency_key, encode(request_hash, 'hex') AS request_hash`

/** The issues of a coupon to these customers, and all issues that these keys made. */
export function selectIssues(
  db: Executor,
  asked: { code: string; customer_ids: readonly string[]; clients: readonly string[]; keys: readonly string[] },
): Promise<StoredIssue[]> {
  return rows<StoredIssue>(
    db,
    `SELECT ${STORED} FROM coupon_issues WHERE code = ? AND customer_id = ANY (?::uuid[])
     UNION
     SELECT ${STORED} FROM coupon_issues
     WHERE (client, idempotency_key) IN (SELECT * FROM unnest(?::text[], ?::text[]))`,
    [asked.code, arrayOf(asked.customer_ids), arrayOf(asked.clients), arrayOf(asked.keys)],
  )
}

/** Takes so many of a coupon if there are so many left. The row count decides. @returns how many were issued before them */
export async function takeCoupons(db: Executor, code: string, count: number): Promise<number | undefined> {
  const [taken] = await rows<{ before: number }>(
    db,
    `UPDATE coupons SET issued = issued + ?::integer WHERE code = ? AND issued + ?::integer <= quantity
     RETURNING issued - ?::integer AS before`,
    [count, code, count, count],
  )
  return taken?.before
}

export type NewIssue = {
  number: number
  customer_id: string
  client: string
  key: string | null
  request_hash: string | null
}

/** Adds issues, in the order given. */
export function insertIssues(db: Executor, code: string, issues: readonly NewIssue[]): Promise<Issue[]> {
  return rows<Issue>(
    db,
    `INSERT INTO coupon_issues (code, number, customer_id, client, idempotency_key, request_hash)
     SELECT ?, number, customer_id, client, idempotency_key, decode(request_hash, 'hex')
     FROM unnest(?::integer[], ?::uuid[], ?::text[], ?::text[], ?::text[])
       AS n (number, customer_id, client, idempotency_key, request_hash)
     RETURNING ${ISSUE}`,
    [
      code,
      arrayOf(issues, ({ number }) => number),
      arrayOf(issues, ({ customer_id }) => customer_id),
      arrayOf(issues, ({ client }) => client),
      arrayOf(issues, ({ key }) => key),
      arrayOf(issues, ({ request_hash }) => request_hash),
    ],
  )
}

/** A page of a customer's coupons with what each gives, by code. */
export function selectIssuePage(
  db: Executor,
  page: { customer_id: string; after_code: string | null; limit: number },
): Promise<IssuedCoupon[]> {
  return rows<IssuedCoupon>(
    db,
    `SELECT i.code, i.number, i.customer_id, i.state, i.order_id, i.issued_at, c.discount_percent, c.discount_amount
     FROM coupon_issues i JOIN coupons c ON c.code = i.code
     WHERE i.customer_id = ?::uuid AND i.code > coalesce(?::text, '')
     ORDER BY i.code LIMIT ?`,
    [page.customer_id, page.after_code, page.limit],
  )
}

/** An issue together with what it gives. */
export type IssuedCoupon = Issue & Pick<Coupon, 'discount_percent' | 'discount_amount'>

/** Locks the coupon that a customer has under a code, then reads it; undefined if there is none. */
export async function lockIssue(db: Executor, code: string, customer_id: string): Promise<IssuedCoupon | undefined> {
  const [, [issue]] = await Promise.all([
    rows(db, `SELECT 1 FROM coupon_issues WHERE code = ? AND customer_id = ?::uuid FOR NO KEY UPDATE`, [
      code,
      customer_id,
    ]),
    rows<IssuedCoupon>(
      db,
      `SELECT i.code, i.number, i.customer_id, i.state, i.order_id, i.issued_at, c.discount_percent, c.discount_amount
       FROM coupon_issues i JOIN coupons c ON c.code = i.code WHERE i.code = ? AND i.customer_id = ?::uuid`,
      [code, customer_id],
    ),
  ])
  return issue
}

/** Uses an issue for an order if it is not used yet. The row count decides. */
export async function markUsed(
  db: Executor,
  issue: Pick<Issue, 'code' | 'number'>,
  order_id: string,
): Promise<boolean> {
  const used = await rows(
    db,
    `UPDATE coupon_issues SET state = 'used', order_id = ?::uuid WHERE code = ? AND number = ? AND state = 'issued'
     RETURNING number`,
    [order_id, issue.code, issue.number],
  )
  return used.length === 1
}

/** Makes the coupons of these orders usable again, locked by code and number. @returns how many there were */
export async function markIssued(db: Executor, order_ids: readonly string[]): Promise<number> {
  const given_back = await rows(
    db,
    `WITH locked AS MATERIALIZED (
       SELECT code, number FROM coupon_issues WHERE order_id = ANY (?::uuid[])
       ORDER BY code, number FOR NO KEY UPDATE
     )
     UPDATE coupon_issues i SET state = 'issued', order_id = NULL
     FROM locked l WHERE i.code = l.code AND i.number = l.number
     RETURNING i.number`,
    [arrayOf(order_ids)],
  )
  return given_back.length
}

/** A coupon whose counter and issues disagree; see `cli verify`. */
export type CouponFault = {
  broken: number
  code: string
  /** The coupon: null where issues tell of one that does not exist. */
  quantity: number | null
  issued: number | null
  /** Its issues: how many, the last number, how many customers. */
  issues: number
  last_number: number
  customers: number
  /** Issues whose state and order don't fit. */
  torn: number
}

/** Coupons whose counter is not the number of issues, or exceeds what there is. Reads every coupon and issue once. */
export function selectCouponsOff(db: Executor, limit: number): Promise<CouponFault[]> {
  return rows<CouponFault>(
    db,
    `WITH given AS (
       SELECT code, count(*) AS issues, max(number) AS last_number, count(DISTINCT customer_id) AS customers,
         count(*) FILTER (WHERE (state = 'used') <> (order_id IS NOT NULL)) AS torn
       FROM coupon_issues
       GROUP BY code
     )
     SELECT count(*) OVER () AS broken, coalesce(coupon.code, given.code) AS code, quantity, issued,
       coalesce(issues, 0) AS issues, coalesce(last_number, 0) AS last_number, coalesce(customers, 0) AS customers,
       coalesce(torn, 0) AS torn
     FROM coupons AS coupon FULL JOIN given ON given.code = coupon.code
     WHERE issued IS DISTINCT FROM coalesce(issues, 0) OR issued > quantity
       OR issues <> last_number OR issues <> customers OR torn > 0
     ORDER BY 2 LIMIT ?`,
    [limit],
  )
}
