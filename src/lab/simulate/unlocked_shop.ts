import type { Knex } from 'knex'
import { rows } from '../../database/transaction.ts'
import type { Audit, Shop, Told } from './shop.ts'

/**
 * A shop without any lock, on a table of its own without a CHECK: whoever takes from the shelf or fills it reads the count,
 * works out the new one and writes that. It is here to show what this breaks.
 *
 * A customer reads when taking and writes when paying, as a shop does that counts at the till; who came in between is
 * overwritten. The count never falls below zero on this way, so no CHECK would notice.
 */
export async function openUnlockedShop(db: Knex, initial: number): Promise<Shop> {
  await rows(db, 'CREATE TABLE simulate_shelf (stock integer NOT NULL, found integer)')
  await rows(db, 'INSERT INTO simulate_shelf VALUES (?)', [initial])
  const overwritten = { sold: 0, restocked: 0 }

  const read = async (): Promise<number> => {
    const [row] = await rows<{ stock: number }>(db, 'SELECT stock FROM simulate_shelf')
    return row?.stock ?? 0
  }

  /** Writes what follows from `seen`, and notes what was there by then: only the simulation knows, the shop does not. */
  const write = async (seen: number, change: number): Promise<undefined> => {
    const [row] = await rows<{ found: number }>(
      db,
      'UPDATE simulate_shelf SET found = stock, stock = ? RETURNING found',
      [seen + change],
    )
    const lost = (row?.found ?? seen) - seen
    if (lost > 0) overwritten.restocked += lost
    else overwritten.sold -= lost
  }

  return {
    async take(quantity) {
      const seen = await read()
      if (seen < quantity) return { kind: 'sold_out' }
      const pay = () => write(seen, -quantity)
      return { kind: 'taken', units: { pay, putBack: () => Promise.resolve() } }
    },
    restock: async (units) => write(await read(), units),
    level: async () => ({ left: await read(), held: 0 }),
    audit: async (told) => audit(told, await read(), overwritten),
  }
}

function audit(told: Told, left: number, overwritten: { sold: number; restocked: number }): Audit {
  const there_were = told.initial + told.restocked
  const said: string[] = []
  if (overwritten.sold > 0) said.push(`Units sold twice, being back on the shelf though sold: ${overwritten.sold}.`)
  if (overwritten.restocked > 0) said.push(`Units gone missing, on no shelf and not sold: ${overwritten.restocked}.`)
  if (told.sold > there_were) said.push(`Units sold: ${told.sold}, and there never were more than ${there_were}.`)
  // Two wrongs may come out even; the units were lost and sold twice all the same.
  const clean = there_were === told.sold + left && said.length === 0
  if (clean) said.push('Nobody came in between this time. That was luck, not a lock.')
  return { clean, left, said }
}
