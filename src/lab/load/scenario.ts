import { randomBytes } from 'node:crypto'

/** What is asked, and what a right answer looks like. Requests are put together from parts that are made once. */

/** SKUs `SKU-000001` and so on; which one is drawn for each request. */
export type Scenario =
  /** Reserve one unit of each of `lines` SKUs. With `hot` the first line is always the first SKU. */
  | { kind: 'reserve'; skus: number; lines?: number; hot?: boolean; ttl_seconds?: number }
  /** Numbered buyers, one unit each; which SKU a buyer wants is told by {@link skuOfBuyer}. Sold out is a right answer too. */
  | Buyers
  /** Reserve what is not there: the right answer is a refusal. */
  | { kind: 'refused'; skus: number }
  /** Reserve, then confirm what was reserved, on the same connection. */
  | { kind: 'pair'; skus: number }
  /** `size` reservations in one request, each with a key of its own. */
  | { kind: 'batch'; skus: number; size: number }
  | { kind: 'read'; skus: number }

export type Buyers = {
  kind: 'buyers'
  /** How many there are in all, and the number of the first whom this process sends, from 0. */
  count: number
  first?: number
  /** SKUs from here on are theirs, counted from 1. */
  sku_first?: number
  /** So many SKUs are bought in turn. */
  skus: number
  /** In the place of `skus`: this share of all want one SKU, and everybody else one of their own. */
  meet_percent?: number
}

/** How an answer is counted: what the scenario is about; a status that the plan puts up with; anything else. */
export type Verdict = 'accepted' | 'tolerated' | 'wrong'

/** One connection's conversation. */
export type Talk = {
  /** The next request. */
  ask(): string
  /** Looks at its answer. */
  judge(status: number, body: Buffer): Verdict
}

export type Door = { host: string; api_key: string; tolerate: readonly number[] }

/** The name of the n-th SKU, counted from 1; all names are equally long. */
export function skuName(n: number): string {
  return `SKU-${String(n).padStart(6, '0')}`
}

/**
 * The SKU that the n-th buyer wants, n from 0. Those who meet stand evenly among the others: of a hundred buyers at 5 % these
 * are the first, the 21st, the 41st and so on.
 */
export function skuOfBuyer({ count, sku_first = 1, skus, meet_percent }: Buyers, n: number): string {
  if (meet_percent === undefined) return skuName(sku_first + (n % skus))
  const met = buyersWhoMeet(count, meet_percent)
  const meets = Math.ceil(((n + 1) * met) / count) > Math.ceil((n * met) / count)
  return skuName(meets ? sku_first : sku_first + 1 + n)
}

/** How many of all that share is; at least one. */
export function buyersWhoMeet(count: number, meet_percent: number): number {
  return Math.min(count, Math.max(1, Math.round((count * meet_percent) / 100)))
}

/** What makes a talk for each connection, at whichever door. Idempotency keys are never used twice, by whatever process. */
export function createTalks(scenario: Scenario): (door: Door) => Talk {
  const nextKey = createKeys()
  let buyers = scenario.kind === 'buyers' ? (scenario.first ?? 0) : 0
  switch (scenario.kind) {
    case 'reserve':
      return (door) => reserveTalk(scenario, door, nextKey)
    case 'buyers':
      return (door) => buyerTalk(scenario, door, nextKey, () => buyers++)
    case 'refused':
      return (door) => refusedTalk(scenario, door, nextKey)
    case 'pair':
      return (door) => pairTalk(scenario, door, nextKey)
    case 'batch':
      return (door) => batchTalk(scenario, door, nextKey)
    case 'read':
      return (door) => readTalk(scenario, door)
  }
}

function createKeys(): () => string {
  const prefix = randomBytes(6).toString('hex')
  let count = 0
  return () => `${prefix}-${(++count).toString(36).padStart(8, '0')}`
}

function headOf(door: Door, method: string, path: string): string {
  return `${method} ${path} HTTP/1.1\r\nHost: ${door.host}\r\nAuthorization: Bearer ${door.api_key}\r\n`
}

function post(head: string, key: string, body: string): string {
  return `${head}Content-Type: application/json\r\nIdempotency-Key: ${key}\r\nContent-Length: ${body.length}\r\n\r\n${body}`
}

function draw(skus: number): string {
  return skuName(1 + Math.floor(Math.random() * skus))
}

function drawLines({ skus, lines = 1, hot = false }: { skus: number; lines?: number; hot?: boolean }): string[] {
  if (lines === 1) return [hot ? skuName(1) : draw(skus)]
  const drawn = new Set<string>(hot ? [skuName(1)] : [])
  while (drawn.size < lines) drawn.add(draw(skus))
  return [...drawn]
}

function reserveBody(drawn: readonly string[], ttl_seconds?: number): string {
  const lines = drawn.map((sku) => `{"sku":"${sku}","quantity":1}`).join(',')
  return ttl_seconds === undefined ? `{"lines":[${lines}]}` : `{"lines":[${lines}],"ttl_seconds":${ttl_seconds}}`
}

function reserveTalk(scenario: Extract<Scenario, { kind: 'reserve' }>, door: Door, nextKey: () => string): Talk {
  const head = headOf(door, 'POST', '/v1/reservations')
  let drawn: string[] = []
  return {
    ask() {
      drawn = drawLines(scenario)
      return post(head, nextKey(), reserveBody(drawn, scenario.ttl_seconds))
    },
    judge(status, body) {
      if (status !== 201) return door.tolerate.includes(status) ? 'tolerated' : 'wrong'
      return body.includes('"status":"pending"') && namesAll(body, drawn) ? 'accepted' : 'wrong'
    },
  }
}

function namesAll(body: Buffer, skus: readonly string[]): boolean {
  for (const sku of skus) if (!body.includes(`"sku":"${sku}"`, 0, 'latin1')) return false
  return true
}

function buyerTalk(scenario: Buyers, door: Door, nextKey: () => string, nextBuyer: () => number): Talk {
  const head = headOf(door, 'POST', '/v1/reservations')
  let sku = ''
  return {
    ask() {
      sku = skuOfBuyer(scenario, nextBuyer())
      return post(head, nextKey(), reserveBody([sku]))
    },
    judge(status, body) {
      if (status === 201) return body.includes('"status":"pending"') && namesAll(body, [sku]) ? 'accepted' : 'wrong'
      if (!door.tolerate.includes(status)) return 'wrong'
      if (status !== 409) return 'tolerated'
      return body.includes('"insufficient_stock"') && namesAll(body, [sku]) ? 'tolerated' : 'wrong'
    },
  }
}

function refusedTalk(scenario: { skus: number }, door: Door, nextKey: () => string): Talk {
  const head = headOf(door, 'POST', '/v1/reservations')
  let sku = ''
  return {
    ask() {
      sku = draw(scenario.skus)
      return post(head, nextKey(), reserveBody([sku]))
    },
    judge(status, body) {
      if (status !== 409) return door.tolerate.includes(status) ? 'tolerated' : 'wrong'
      return body.includes('"insufficient_stock"') && namesAll(body, [sku]) ? 'accepted' : 'wrong'
    },
  }
}

function pairTalk(scenario: { skus: number }, door: Door, nextKey: () => string): Talk {
  const head = headOf(door, 'POST', '/v1/reservations')
  let sku = ''
  let id: string | undefined
  return {
    ask() {
      if (id !== undefined) return `${headOf(door, 'POST', `/v1/reservations/${id}/confirm`)}Content-Length: 0\r\n\r\n`
      sku = draw(scenario.skus)
      return post(head, nextKey(), reserveBody([sku]))
    },
    judge(status, body) {
      if (id === undefined) {
        if (status !== 201) return door.tolerate.includes(status) ? 'tolerated' : 'wrong'
        id = /"id":"([0-9a-f-]{36})"/.exec(body.toString('latin1', 0, 60))?.[1]
        return id !== undefined && namesAll(body, [sku]) ? 'accepted' : 'wrong'
      }
      const confirmed = id
      id = undefined
      if (status !== 200) return door.tolerate.includes(status) ? 'tolerated' : 'wrong'
      return body.includes(confirmed) && body.includes('"status":"confirmed"') ? 'accepted' : 'wrong'
    },
  }
}

const HELD_ITEM = Buffer.from('{"status":201,')
const TOO_BUSY_ITEM = Buffer.from('{"status":503,')
const TOO_BUSY_CODE = Buffer.from('"code":"overloaded"')

function batchTalk(scenario: { skus: number; size: number }, door: Door, nextKey: () => string): Talk {
  const head = `${headOf(door, 'POST', '/v1/reservations/batch')}Content-Type: application/json\r\n`
  return {
    ask() {
      const items: string[] = []
      for (let i = 0; i < scenario.size; i++) {
        items.push(`{"lines":[{"sku":"${draw(scenario.skus)}","quantity":1}],"idempotency_key":"${nextKey()}"}`)
      }
      const body = `{"reservations":[${items.join(',')}]}`
      return `${head}Content-Length: ${body.length}\r\n\r\n${body}`
    },
    judge(status, body) {
      if (status !== 200) return door.tolerate.includes(status) ? 'tolerated' : 'wrong'
      const held = countOf(HELD_ITEM, body)
      if (held === scenario.size) return 'accepted'
      const busy = countOf(TOO_BUSY_ITEM, body)
      const is_rest_busy = held + busy === scenario.size && countOf(TOO_BUSY_CODE, body) === busy
      return is_rest_busy && door.tolerate.includes(503) ? 'tolerated' : 'wrong'
    },
  }
}

function countOf(part: Buffer, body: Buffer): number {
  let count = 0
  for (let at = body.indexOf(part); at >= 0; at = body.indexOf(part, at + part.length)) count++
  return count
}

function readTalk(scenario: { skus: number }, door: Door): Talk {
  let sku = ''
  return {
    ask() {
      sku = draw(scenario.skus)
      return `${headOf(door, 'GET', `/v1/stock/${sku}`)}\r\n`
    },
    judge(status, body) {
      if (status !== 200) return door.tolerate.includes(status) ? 'tolerated' : 'wrong'
      return body.includes('"available":') && namesAll(body, [sku]) ? 'accepted' : 'wrong'
    },
  }
}
