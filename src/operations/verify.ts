import type { Knex } from 'knex'
import { isUnavailable } from '../database/sqlstate.ts'
import { DatabaseUnavailable } from '../errors.ts'
import { check, type Check, type Finding } from './finding.ts'
import {
  allowWorkMemory,
  selectCountersOutOfBounds,
  selectLedgersOff,
  selectLinesOff,
  selectReservedNotHeld,
  selectTotals,
  type CounterFault,
  type HeldFault,
  type LedgerFault,
  type LineFault,
  type Totals,
} from './queries.ts'
import { checkStorefront } from './verify_storefront.ts'

/** Findings named per kind of fault; the rest are only counted. */
const FINDINGS_MAX = 100

export type VerifyReport = Totals & { clean: boolean; checks: Check[]; duration_ms: number }

/**
 * Checks promises 1 to 5 and those of the storefront over the whole database, on one snapshot, and repairs nothing: a wrong
 * number is evidence.
 *
 * It reads every counter, reservation and ledger row: three minutes for ten million reservations with 22 million ledger
 * rows (PostgreSQL 18, four shared cores), sorting on disk what does not fit into memory. It takes no locks that writers
 * wait for, but its snapshot keeps old row versions alive for as long, and a shop under load updates its counters
 * thousands of times a second: run it when it is quiet, or on a replica.
 *
 * @param db a pool without a statement timeout
 * @throws DatabaseUnavailable if the database is away
 */
export async function verify(db: Knex): Promise<VerifyReport> {
  const started_at = performance.now()
  try {
    return await db.transaction(
      async (tx) => {
        await allowWorkMemory(tx)
        const totals = await selectTotals(tx)
        const counters = await selectCountersOutOfBounds(tx, FINDINGS_MAX)
        const held = await selectReservedNotHeld(tx, FINDINGS_MAX)
        const ledgers = await selectLedgersOff(tx, FINDINGS_MAX)
        const lines = await selectLinesOff(tx, FINDINGS_MAX)
        const checks = [
          check(1, '0 <= temp_reserved_stock <= stock', counters, counterFinding),
          check(2, 'temp_reserved_stock is the sum of the pending lines', held, heldFinding),
          check(3, 'the ledger has no gaps and replays to the counters', ledgers, ledgerFinding),
          lineCheck(
            4,
            'every line of a reservation is in the ledger, and nothing else',
            lines,
            (fault) => !isEndFault(fault),
          ),
          lineCheck(5, 'every reservation reaches exactly one end', lines, isEndFault),
          ...(await checkStorefront(tx, FINDINGS_MAX)),
        ]
        const clean = checks.every(({ broken }) => broken === 0)
        return { ...totals, clean, checks, duration_ms: Math.round(performance.now() - started_at) }
      },
      { isolationLevel: 'repeatable read', readOnly: true },
    )
  } catch (error) {
    if (isUnavailable(error)) throw new DatabaseUnavailable('none', error)
    throw error
  }
}

function lineCheck(
  promise: number,
  title: string,
  faults: readonly LineFault[],
  belongs: (fault: LineFault) => boolean,
): Check {
  const own = faults.filter(belongs)
  // Each row carries the count of its own kind of fault.
  const broken = [...new Map(own.map((fault) => [fault.fault, fault.broken])).values()].reduce((sum, n) => sum + n, 0)
  return { promise, title, broken, findings: own.map(lineFinding) }
}

function isEndFault({ fault }: LineFault): boolean {
  return fault === 'wrong_end' || fault === 'closed_at_wrong'
}

function counterFinding({ sku, stock, temp_reserved_stock }: CounterFault): Finding {
  return {
    sku,
    reservation_id: null,
    detail: `stock ${stock}, temp_reserved_stock ${temp_reserved_stock}`,
    next_step:
      'the constraints stock_covers_reserved and stock_within_limit forbid this, so look at "\\d stock" for a missing one; ' +
      'count the shelf, set the true number with "npm run cli -- stock set", then add the constraint again',
  }
}

function heldFinding({ sku, temp_reserved_stock, held, holds }: HeldFault): Finding {
  const pending = `${holds} pending reservation${holds === 1 ? ' holds' : 's hold'} ${held}`
  if (temp_reserved_stock === null) {
    return {
      sku,
      reservation_id: null,
      detail: `${pending}, but the SKU has no counter`,
      next_step: 'somebody deleted the row from stock: bring it back from a backup together with its ledger',
    }
  }
  return {
    sku,
    reservation_id: null,
    detail: `temp_reserved_stock ${temp_reserved_stock}, but ${pending}`,
    next_step:
      temp_reserved_stock > held
        ? `${temp_reserved_stock - held} can't be sold until this is put right: look under promises 3 to 5 for the reservation ` +
          'that was changed past the service, and whether its units were sold'
        : `${held - temp_reserved_stock} could be sold twice: set stock so that nothing of this SKU is available, then look ` +
          'under promises 3 to 5 for the reservation that was changed past the service',
  }
}

function ledgerFinding(fault: LedgerFault): Finding {
  const { sku, seq, stock, temp_reserved_stock, ledger_rows, last_seq, stock_sum, reserved_sum } = fault
  const details: string[] = []
  if (seq === null) details.push('the SKU has ledger rows, but no counter')
  if (fault.first_gap !== null)
    details.push(`${ledger_rows} rows up to seq ${last_seq}, the first gap before seq ${fault.first_gap}`)
  if (fault.first_miscounted !== null)
    details.push(`seq ${fault.first_miscounted} does not follow from the row before it`)
  if (seq !== null && seq !== last_seq) details.push(`the counter's seq is ${seq}, the ledger's last ${last_seq}`)
  if (stock !== null && (stock !== stock_sum || temp_reserved_stock !== reserved_sum)) {
    details.push(
      `the counter says stock ${stock} and temp_reserved_stock ${temp_reserved_stock}, ` +
        `the ledger's sums are ${stock_sum} and ${reserved_sum}`,
    )
  }
  return {
    sku,
    reservation_id: null,
    detail: details.join('; '),
    next_step:
      'the counter or its ledger was written past the service: compare both with a backup around the seq that is named ' +
      `("SELECT * FROM stock_ledger WHERE sku = '${sku.replaceAll("'", "''")}' ORDER BY seq"), and count the shelf`,
  }
}

const LINE_NEXT_STEPS: Record<LineFault['fault'], string> = {
  unowned: 'a ledger row of a hold must name its reservation: look in a backup for which one it was',
  no_reservation:
    'the reservation was deleted past the service: bring its row back from a backup, or its units stay counted for nobody',
  no_line: "the reservation's lines were changed past the service: bring the row back from a backup",
  no_lines: "the reservation's lines were emptied past the service: its ledger rows name them",
  sku_repeated: 'lines of one SKU are summed before they are held: this row was written past the service',
  no_ledger:
    'a hold must have all its lines or none: find out whether the units of this line are counted (promises 2 and 3 for the SKU), ' +
    'then bring the missing ledger rows back from a backup',
  miscounted:
    'the line and its ledger rows disagree on the quantity: one of them was changed past the service; ask a backup which',
  wrong_end:
    'the status and the ledger tell two stories: find out from the payment which one is true before anything is shipped or refunded',
  closed_at_wrong:
    'the constraint reservations_closed_when_final forbids this, so look at "\\d reservations" for it; the ledger has the time',
}

function lineFinding(fault: LineFault): Finding {
  const { reservation_id, sku, status, quantity, history, first_seq } = fault
  const found = history === null ? 'no ledger rows' : `ledger rows ${history} from seq ${first_seq}`
  const line =
    status === null ? 'no line' : sku === null ? `${status}, without lines` : `${status}, ${quantity} of ${sku}`
  return { sku, reservation_id, detail: `${line}; ${found}`, next_step: LINE_NEXT_STEPS[fault.fault] }
}
