import type { Knex } from 'knex'
import type { Refusal } from '../../errors.ts'
import { verify } from '../../operations/verify.ts'
import type { Reservations } from '../../reservations/reservations.ts'
import { adjustStock } from '../../stock/adjust.ts'
import { readLedger } from '../../stock/ledger.ts'
import { readLevels } from '../../stock/levels.ts'
import { setStock } from '../../stock/set.ts'
import type { Audit, Level, Shop, Told, Units } from './shop.ts'

/** A shop that reserves and confirms as any shop would, by whichever strategy the core was told to use. */

const SKU = 'shelf'
const CLIENT = 'simulate'
/** A confirm that met an overloaded service is tried so often: it may be repeated, and the money is there. */
const CONFIRMS_MAX = 5
/** As many rows of the ledger as are read at once. */
const PAGE = 200

type Core = Pick<Reservations, 'reserve' | 'confirm' | 'release'>

/** @param db connections for stock and for looking at it; without a statement timeout, for the audit */
export async function openCoreShop(core: Core, db: Knex, initial: number): Promise<Shop> {
  const set = await setStock(db, [{ sku: SKU, stock: initial }])
  if (!set.ok) throw new Error(`the shelf could not be filled: ${set.refusal.code}`)
  return {
    async take(quantity, signal) {
      const held = await core.reserve({ client: CLIENT, lines: [{ sku: SKU, quantity }] }, signal)
      if (held.ok) return { kind: 'taken', units: unitsOf(core, held.value.reservation.id) }
      if (held.refusal.code === 'insufficient_stock') return { kind: 'sold_out' }
      return { kind: 'refused', reason: reasonOf(held.refusal) }
    },
    async restock(units) {
      const restocked = await adjustStock(db, { client: CLIENT, items: [{ sku: SKU, delta: units }] })
      if (!restocked.ok) throw new Error(`a delivery was refused: ${restocked.refusal.code}`)
    },
    level: () => readShelf(db),
    audit: (told) => audit(db, told),
  }
}

function unitsOf(core: Core, id: string): Units {
  const putBack = async (): Promise<void> => {
    for (let tries = 1; tries <= CONFIRMS_MAX; tries++) if ((await core.release({ id })).ok) return
  }
  return {
    async pay() {
      let reason = ''
      for (let tries = 1; tries <= CONFIRMS_MAX; tries++) {
        const confirmed = await core.confirm({ id })
        if (confirmed.ok) return undefined
        reason = reasonOf(confirmed.refusal)
      }
      await putBack()
      return reason
    },
    putBack,
  }
}

function reasonOf(refusal: Refusal): string {
  return refusal.code === 'database_unavailable' ? `${refusal.code} (${refusal.outcome})` : refusal.code
}

async function readShelf(db: Knex): Promise<Level> {
  const [level] = await readLevels(db, [SKU])
  return { left: level?.available ?? 0, held: level?.temp_reserved_stock ?? 0 }
}

async function audit(db: Knex, told: Told): Promise<Audit> {
  const [{ left, held }, written, report] = await Promise.all([readShelf(db), sumLedger(db), verify(db)])
  const said: string[] = []
  const compare = (what: string, in_ledger: number, by_hand: number): void => {
    if (in_ledger !== by_hand)
      said.push(`Units ${what}: ${in_ledger} by the ledger, ${by_hand} as those who did it say.`)
  }
  compare('at the start', written.set, told.initial)
  compare('restocked', written.adjust, told.restocked)
  compare('sold', written.confirm, told.sold)
  if (held > 0) said.push(`Units still held, by nobody: ${held}.`)
  const unaccounted = told.initial + told.restocked - told.sold - left - held
  if (unaccounted !== 0) said.push(`Units ${unaccounted > 0 ? 'missing' : 'too many'}: ${Math.abs(unaccounted)}.`)
  for (const { promise, broken, findings } of report.checks) {
    if (broken > 0) said.push(`Promise ${promise} is broken ${broken} times: ${findings[0]?.detail ?? ''}.`)
  }
  const clean = said.length === 0
  return { clean, left, said: clean ? ['The ledger says the same, and verify finds nothing wrong.'] : said }
}

/** Units by kind of change: what came, and what was sold. */
async function sumLedger(db: Knex): Promise<Record<'set' | 'adjust' | 'confirm', number>> {
  const sums = { set: 0, adjust: 0, confirm: 0 }
  let before_seq: number | undefined
  for (;;) {
    const page = (await readLedger(db, SKU, { limit: PAGE, ...(before_seq === undefined ? {} : { before_seq }) })) ?? []
    for (const { kind, stock_delta } of page) {
      if (kind === 'set' || kind === 'adjust') sums[kind] += stock_delta
      if (kind === 'confirm') sums.confirm -= stock_delta
    }
    before_seq = page.at(-1)?.seq
    if (page.length < PAGE || before_seq === undefined) return sums
  }
}
