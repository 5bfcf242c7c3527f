import { setTimeout as delay } from 'node:timers/promises'
import type { Knex } from 'knex'
import { rows } from '../../src/database/transaction.ts'
import type { Client } from './service.ts'
import { reasons, type Suite } from './suite.ts'

/** A client that reads /v1/events from the beginning and keeps its position, and what must be true of what it read. */

const PAGE = 200

export type Event = {
  position: number
  id: string
  type: string
  data: {
    id?: string
    lines?: { sku: string; quantity: number; seq: number | null }[]
    sku?: string
    seq?: number
    available?: number
  }
}

/** Starts reading. @returns a function that reads up to the end, and returns all that was read */
export function followEvents(client: Pick<Client, 'send'>): () => Promise<Event[]> {
  let following = true
  const read = follow(client, () => following)
  return () => {
    following = false
    return read
  }
}

async function follow(client: Pick<Client, 'send'>, isFollowing: () => boolean): Promise<Event[]> {
  const events: Event[] = []
  let after = 0
  for (;;) {
    const last_round = !isFollowing()
    const reply = await client.send('GET', `/v1/events?after=${after}&limit=${PAGE}`)
    if (reply.status !== 200) {
      if (last_round) throw new Error(`events answered ${reply.status} ${reply.body.code}`)
      await delay(50)
      continue
    }
    const { data, next_after } = reply.body as unknown as { data: Event[]; next_after: number }
    events.push(...data)
    after = next_after
    if (data.length === 0 && last_round) return events
    if (data.length < PAGE) await delay(5)
  }
}

/** Checks that the reader has each event once, and each SKU's events in the order of its ledger. */
export async function checkEvents(
  suite: Suite,
  db: Knex,
  read: { who: string; events: readonly Event[] },
): Promise<void> {
  const { who, events } = read
  const wrong = findGaps(events, await readOutbox(db))
  suite.check(
    `${who} has each event once, without a gap`,
    wrong.length === 0,
    wrong.length ? reasons(wrong) : `${events.length} events`,
  )
  const disorder = findDisorder(events)
  suite.check(`${who} has each SKU's events in ledger order`, disorder.length === 0, reasons(disorder))
}

/** All events by id with what they say, as they lie in the table, whatever their position. */
async function readOutbox(db: Knex): Promise<Set<string>> {
  const found = await rows<{ id: string }>(
    db,
    `SELECT o.id || '.' || (e.place - 1) AS id FROM outbox o, json_array_elements(o.events) WITH ORDINALITY AS e (event, place)`,
  )
  return new Set(found.map(({ id }) => id))
}

function findGaps(events: readonly Event[], stored: ReadonlySet<string>): string[] {
  const wrong: string[] = []
  events.forEach((event, i) => {
    if (event.position !== i + 1) wrong.push(`position ${event.position} stands at place ${i + 1}`)
  })
  const ids = new Set(events.map(({ id }) => id))
  if (ids.size !== events.length) wrong.push(`${events.length - ids.size} events twice`)
  const missing = [...stored].filter((id) => !ids.has(id))
  if (missing.length > 0) wrong.push(`${missing.length} events missing, such as ${missing[0]}`)
  if (ids.size > stored.size) wrong.push(`${ids.size - stored.size} events too many`)
  return wrong
}

/** For each SKU the seq of what is told rises, and an availability event follows the change that made it. */
function findDisorder(events: readonly Event[]): string[] {
  const wrong: string[] = []
  const last = new Map<string, number>()
  const last_availability = new Map<string, number>()
  const open = new Set<string>()
  for (const { position, type, data } of events) {
    if (data.id !== undefined) {
      if (open.has(data.id) === (type === 'reservation.created'))
        wrong.push(`position ${position}: ${type} of ${data.id} out of turn`)
      open.add(data.id)
    }
    for (const { sku, seq } of data.lines ?? []) {
      if (seq === null) continue
      if (seq <= (last.get(sku) ?? 0))
        wrong.push(`position ${position}: ${type} of ${sku} tells of seq ${seq} after ${last.get(sku)}`)
      last.set(sku, seq)
    }
    if (data.sku !== undefined && data.seq !== undefined) {
      if (data.seq <= (last_availability.get(data.sku) ?? 0))
        wrong.push(`position ${position}: ${type} of ${data.sku} turned around`)
      // What was reacquired tells of its reserve and its confirm in one event, under the later seq.
      if (data.seq < (last.get(data.sku) ?? 0) - 1)
        wrong.push(`position ${position}: ${type} of ${data.sku} comes after later changes`)
      last_availability.set(data.sku, data.seq)
    }
  }
  return wrong
}
