import { rows, type Executor } from '../database/transaction.ts'

/** Balances move by a conditional UPDATE whose row count is the answer, and each move writes its entry with it. */

export type Customer = {
  /** A UUIDv7. */
  id: string
  name: string
  /** In the currency's minor unit. */
  balance: number
  created_at: Date
}

const CUSTOMER = 'id, name, balance, created_at'

/** Adds a customer and claims its key; false if the key is taken. Waits for a twin in flight. */
export async function insertCustomer(
  db: Executor,
  customer: { id: string; name: string; client: string; key: string | null; request_hash: string | null },
): Promise<boolean> {
  const { id, name, client, key, request_hash } = customer
  const inserted = await rows(
    db,
    `INSERT INTO customers (id, name, client, idempotency_key, request_hash)
     VALUES (?::uuid, ?, ?, ?, decode(?, 'hex'))
     ON CONFLICT (client, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING RETURNING id`,
    [id, name, client, key, request_hash],
  )
  return inserted.length === 1
}

/** The customer that a key made. */
export async function selectCustomerByKey(
  db: Executor,
  client: string,
  key: string,
): Promise<{ id: string; request_hash: string } | undefined> {
  const [customer] = await rows<{ id: string; request_hash: string }>(
    db,
    `SELECT id, encode(request_hash, 'hex') AS request_hash FROM customers WHERE client = ? AND idempotency_key = ?`,
    [client, key],
  )
  return customer
}

/** Those of the customers that exist. */
export function selectCustomers(db: Executor, ids: readonly string[]): Promise<Customer[]> {
  return rows<Customer>(db, `SELECT ${CUSTOMER} FROM customers WHERE id = ANY (?::uuid[])`, [ids])
}

/** Those who came last. */
export function selectLatestCustomers(db: Executor, limit: number): Promise<Customer[]> {
  return rows<Customer>(db, `SELECT ${CUSTOMER} FROM customers ORDER BY id DESC LIMIT ?`, [limit])
}

export type ChargeRow = {
  id: string
  customer_id: string
  amount: number
  client: string
  key: string
  request_hash: string
}

/** Claims a charge's key; false if it is taken, or if there is no such customer. Waits for a twin in flight. */
export async function insertCharge(db: Executor, charge: ChargeRow): Promise<boolean> {
  const { id, customer_id, amount, client, key, request_hash } = charge
  const inserted = await rows(
    db,
    `INSERT INTO charges (id, customer_id, amount, client, idempotency_key, request_hash)
     SELECT ?::uuid, c.id, ?::bigint, ?, ?, decode(?, 'hex') FROM customers c WHERE c.id = ?::uuid
     ON CONFLICT (client, idempotency_key) DO NOTHING RETURNING id`,
    [id, amount, client, key, request_hash, customer_id],
  )
  return inserted.length === 1
}

/** The charge that a key made. */
export async function selectChargeByKey(
  db: Executor,
  client: string,
  key: string,
): Promise<{ id: string; request_hash: string } | undefined> {
  const [charge] = await rows<{ id: string; request_hash: string }>(
    db,
    `SELECT id, encode(request_hash, 'hex') AS request_hash FROM charges WHERE client = ? AND idempotency_key = ?`,
    [client, key],
  )
  return charge
}

export type EntryKind = 'charge' | 'payment' | 'refund'

/** What an entry is for. A payment spends, so its amount is below zero; the others add. */
export type Cause = { charge_id: string } | { payment_id: string } | { payment_id: string; refund_id: string }

/** One change of an account. */
export type AccountEntry = {
  customer_id: string
  /** Starts at 1 and has no gaps. */
  seq: number
  kind: EntryKind
  /** Signed, in the currency's minor unit. */
  amount: number
  balance_after: number
  charge_id: string | null
  payment_id: string | null
  refund_id: string | null
  created_at: Date
}

const ENTRY = 'customer_id, seq, kind, amount, balance_after, charge_id, payment_id, refund_id, created_at'

/** Locks an account. Statements behind it see what it had to wait for. @returns its balance; undefined without one */
export async function lockAccount(db: Executor, customer_id: string): Promise<number | undefined> {
  const [account] = await rows<{ balance: number }>(
    db,
    `SELECT balance FROM customers WHERE id = ?::uuid FOR NO KEY UPDATE`,
    [customer_id],
  )
  return account?.balance
}

export type Move = { customer_id: string; kind: EntryKind; amount: number; created_by: Cause }

/**
 * Moves a balance and writes the entry, if the balance stays within its bounds and the cause has no entry yet.
 *
 * @returns the entry; undefined if nothing was moved
 */
export async function moveBalance(db: Executor, move: Move): Promise<AccountEntry | undefined> {
  const { customer_id, kind, amount, created_by } = move
  const { charge_id = null, payment_id = null, refund_id = null } = created_by as Partial<Record<string, string>>
  const [entry] = await rows<AccountEntry>(
    db,
    `WITH moved AS (
       UPDATE customers SET balance = balance + ?::bigint, seq = seq + 1
       WHERE id = ?::uuid AND balance + ?::bigint BETWEEN 0 AND 9007199254740991
         AND NOT EXISTS (SELECT FROM account_entries WHERE charge_id = ?::uuid)
         AND NOT EXISTS (SELECT FROM account_entries WHERE refund_id = ?::uuid)
         AND NOT EXISTS (SELECT FROM account_entries WHERE payment_id = ?::uuid AND kind = 'payment' AND ?::text = 'payment')
       RETURNING id, seq, balance
     )
     INSERT INTO account_entries (customer_id, seq, kind, amount, balance_after, charge_id, payment_id, refund_id)
     SELECT id, seq, ?::text, ?::bigint, balance, ?::uuid, ?::uuid, ?::uuid FROM moved
     RETURNING ${ENTRY}`,
    [
      amount,
      customer_id,
      amount,
      charge_id,
      refund_id,
      payment_id,
      kind,
      kind,
      amount,
      charge_id,
      payment_id,
      refund_id,
    ],
  )
  return entry
}

/** The entry that a cause has made. */
export async function selectEntryOf(db: Executor, cause: Cause): Promise<AccountEntry | undefined> {
  const { charge_id = null, payment_id = null, refund_id = null } = cause as Partial<Record<string, string>>
  const [entry] = await rows<AccountEntry>(
    db,
    charge_id !== null
      ? `SELECT ${ENTRY} FROM account_entries WHERE charge_id = ?::uuid`
      : refund_id !== null
        ? `SELECT ${ENTRY} FROM account_entries WHERE refund_id = ?::uuid`
        : `SELECT ${ENTRY} FROM account_entries WHERE payment_id = ?::uuid AND kind = 'payment'`,
    [charge_id ?? refund_id ?? payment_id],
  )
  return entry
}

/** A page of an account's entries, newest first. */
export function selectEntries(
  db: Executor,
  page: { customer_id: string; before_seq: number | null; limit: number },
): Promise<AccountEntry[]> {
  return rows<AccountEntry>(
    db,
    `SELECT ${ENTRY} FROM account_entries
     WHERE customer_id = ?::uuid AND seq < coalesce(?::bigint, 9223372036854775807)
     ORDER BY seq DESC LIMIT ?`,
    [page.customer_id, page.before_seq, page.limit],
  )
}

/** An account that its entries don't explain; see `cli verify`. */
export type AccountFault = {
  broken: number
  customer_id: string
  /** The account: null where entries tell of a customer that does not exist. */
  balance: number | null
  seq: number | null
  /** The entries: how many, the last seq, what their amounts add up to (as text: it may be beyond JavaScript's integers). */
  entries: number
  last_seq: number
  amounts: string
  /** The first entry whose seq is not its place in the order, and the first that does not follow from the one before. */
  first_gap: number | null
  first_miscounted: number | null
  /** Charges that have no entry, or one of another amount or account. */
  bare_charges: number
}

/** Accounts whose entries have a gap, miscount, or add up to another balance. Reads every account and entry once. */
export function selectAccountsOff(db: Executor, limit: number): Promise<AccountFault[]> {
  return rows<AccountFault>(
    db,
    `WITH numbered AS (
       SELECT customer_id, seq, amount, row_number() OVER history AS place,
         balance_after = amount::numeric + lag(balance_after, 1, 0::bigint) OVER history AND balance_after >= 0 AS follows
       FROM account_entries
       WINDOW history AS (PARTITION BY customer_id ORDER BY seq)
     ), replayed AS (
       SELECT customer_id, count(*) AS entries, max(seq) AS last_seq, sum(amount) AS amounts,
         min(seq) FILTER (WHERE seq <> place) AS first_gap, min(seq) FILTER (WHERE NOT follows) AS first_miscounted
       FROM numbered
       GROUP BY customer_id
     ), bare AS (
       SELECT c.customer_id, count(*) AS charges
       FROM charges c LEFT JOIN account_entries e
         ON e.charge_id = c.id AND e.customer_id = c.customer_id AND e.amount = c.amount
       WHERE e.charge_id IS NULL
       GROUP BY c.customer_id
     )
     SELECT count(*) OVER () AS broken, coalesce(account.id, replayed.customer_id) AS customer_id, balance, account.seq,
       coalesce(entries, 0) AS entries, coalesce(last_seq, 0) AS last_seq, coalesce(amounts, 0)::text AS amounts,
       first_gap, first_miscounted, coalesce(bare.charges, 0) AS bare_charges
     FROM customers AS account FULL JOIN replayed ON replayed.customer_id = account.id
       LEFT JOIN bare ON bare.customer_id = coalesce(account.id, replayed.customer_id)
     WHERE first_gap IS NOT NULL OR first_miscounted IS NOT NULL OR balance < 0 OR bare.charges > 0
       OR account.seq IS DISTINCT FROM coalesce(last_seq, 0)
       OR balance IS DISTINCT FROM coalesce(amounts, 0)
     ORDER BY 2 LIMIT ?`,
    [limit],
  )
}
