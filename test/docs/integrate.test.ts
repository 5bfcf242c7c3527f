import { readFileSync } from 'node:fs'
import { createClient, type Client } from '../../src/client/client.ts'
import { createKey, type Scope } from '../../src/keys/keys.ts'
import { setStock } from '../../src/stock/set.ts'
import { verify } from '../../src/operations/verify.ts'
import { counters, makeOverdue, must } from '../factories.ts'
import { serveService, type ServingService } from '../http/serving.ts'

/** The page "Integrate your own shop": each of its snippets, as it stands there, against a real service. */

const page = readFileSync(new URL('../../docs/integrate.md', import.meta.url), 'utf8')
const snippets = Array.from(page.matchAll(/```js\n([\s\S]*?)```/g), ([, code]) => code!)

type Order = { id: string; lines: { sku: string; quantity: number }[]; hold_id: string; payment_id: string }
type Gateway = { capture(id: string): string; void(id: string): string; refund(id: string): string }
type Page = {
  stock: Client
  placeOrder(
    order: Partial<Order>,
  ): Promise<{ placed: boolean; hold_id: string; pay_until: string; shortages: unknown }>
  cancelOrder(order: Order): Promise<string>
  onAuthorised(order: Order, gateway: Gateway): Promise<string>
  onPaid(order: Order, gateway: Gateway): Promise<string>
  readNews(after: number, onEvent: (event: { type: string; data: { reference?: string } }) => void): Promise<number>
  cutOver(shelf: object[], open_orders: object[]): Promise<string[]>
}

let serving: ServingService
let shop: Page
/** The same page with the key that the cut-over needs. */
let admin: Page
let count = 0

beforeAll(async () => {
  serving = await serveService()
  const withKey = async (name: string, scopes: Scope[]) => {
    const made = await createKey(serving.database.db, { name, scopes })
    if (!made.ok) throw new Error(made.refusal)
    return runPage({ STOCK_URL: serving.url, STOCK_API_KEY: made.value.secret })
  }
  shop = await withKey('shop', ['read', 'reserve'])
  admin = await withKey('cut-over', ['admin'])
})

afterAll(async () => {
  expect((await verify(serving.database.db)).clean).toBe(true)
  await serving.close()
})

/** All snippets one after another, as one program; what it imports is handed to it. */
function runPage(env: Record<string, string>): Page {
  const code = snippets.join('\n').replace(/^import \{ createClient \} from 'stock-reservation-service\/client'$/m, '')
  const names = Array.from(code.matchAll(/^(?:async )?function (\w+)/gm), ([, name]) => name!)
  // oxlint-disable-next-line typescript/no-implied-eval -- the page is ours, and this is what runs it
  const program = new Function('createClient', 'process', `${code}\nreturn { stock, ${names.join(', ')} }`) as (
    client: typeof createClient,
    process: { env: Record<string, string> },
  ) => Page
  return program(createClient, { env })
}

async function stocked(units: number): Promise<string> {
  const sku = `shoe-${++count}`
  must(await setStock(serving.database.db, [{ sku, stock: units }]))
  return sku
}

async function placed(sku: string): Promise<Order> {
  const order = { id: `order-${++count}`, lines: [{ sku, quantity: 1 }], payment_id: `pay-${count}` }
  const { placed: is_placed, hold_id } = await shop.placeOrder(order)
  expect(is_placed).toBe(true)
  return { ...order, hold_id }
}

const asked: string[] = []
const gateway: Gateway = {
  capture: (id) => note('capture', id),
  void: (id) => note('void', id),
  refund: (id) => note('refund', id),
}

function note(verb: string, id: string): string {
  asked.push(`${verb} ${id}`)
  return verb
}

test('the page has a snippet for each of its sections, and nothing else that looks like code to run', () => {
  expect(snippets).toHaveLength(7)
  expect(page.match(/```/g)).toHaveLength(snippets.length * 2)
})

test('an order is placed once, however often it is sent, and told what is short when it can not be', async () => {
  const sku = await stocked(2)
  const order = { id: 'order-once', lines: [{ sku, quantity: 2 }] }
  const [first, again] = [await shop.placeOrder(order), await shop.placeOrder(order)]
  expect(again).toEqual(first)
  expect(await counters(serving.database.db, sku)).toBe('2/2')
  expect(await shop.placeOrder({ id: 'order-late', lines: order.lines })).toEqual({
    placed: false,
    shortages: [{ sku, requested: 2, available: 0 }],
  })
})

test('a cancelled order gives its units back at once', async () => {
  const sku = await stocked(1)
  const order = await placed(sku)
  for (let i = 0; i < 2; i++) expect(await shop.cancelOrder(order)).toBe('cancelled')
  expect(await counters(serving.database.db, sku)).toBe('1/0')
})

test('an order that was paid meanwhile is not cancelled, and the caller learns it', async () => {
  const order = await placed(await stocked(1))
  await shop.onPaid(order, gateway)
  expect(await shop.cancelOrder(order)).toBe('paid')
})

test('an order whose time has run out is cancelled like any other', async () => {
  const order = await placed(await stocked(1))
  await makeOverdue(serving.database.db, order.hold_id)
  expect(await shop.cancelOrder(order)).toBe('cancelled')
})

test('what the service could not do is never taken for an answer', async () => {
  const order = await placed(await stocked(1))
  await whileOverloaded(shop, ['GET', 'POST'], async () => {
    await expect(shop.placeOrder(order)).rejects.toThrow('overloaded')
    await expect(shop.cancelOrder(order)).rejects.toThrow('overloaded')
    await expect(shop.onPaid(order, gateway)).rejects.toThrow('overloaded')
    await expect(shop.onAuthorised(order, gateway)).rejects.toThrow('overloaded')
    await expect(shop.readNews(0, () => undefined)).rejects.toThrow('overloaded')
  })
  const shelf = [{ sku: order.lines[0]!.sku, stock: 1 }]
  const open = { ...order, id: 'not-held-yet', created_at: Date.now(), pay_until: Date.now() + 60_000 }
  for (const verb of ['GET', 'POST', 'PUT'] as const) {
    await whileOverloaded(admin, [verb], () => expect(admin.cutOver(shelf, [open])).rejects.toThrow('overloaded'))
  }
})

/** Answers these calls of the page as a service does that has no room. */
async function whileOverloaded(
  { stock }: Page,
  verbs: readonly ('GET' | 'POST' | 'PUT')[],
  work: () => Promise<unknown>,
): Promise<void> {
  const before = { ...stock }
  for (const verb of verbs) Object.assign(stock, { [verb]: () => Promise.resolve({ error: { code: 'overloaded' } }) })
  try {
    await work()
  } finally {
    Object.assign(stock, before)
  }
}

test('authorised money is captured once the hold is confirmed, and voided when the hold is gone', async () => {
  const sku = await stocked(3)
  const [paid, late, left] = [await placed(sku), await placed(sku), await placed(sku)]
  await makeOverdue(serving.database.db, late.hold_id)
  await shop.cancelOrder(left)
  asked.length = 0
  for (const order of [paid, paid, late, left]) await shop.onAuthorised(order, gateway)
  expect(asked).toEqual([
    `capture ${paid.payment_id}`,
    `capture ${paid.payment_id}`,
    `void ${late.payment_id}`,
    `void ${left.payment_id}`,
  ])
  await serving.service.sweeper.run()
  expect(await counters(serving.database.db, sku)).toBe('2/0')
})

test('late money takes the units that remain, and goes back when none do', async () => {
  const sku = await stocked(1)
  const late = await placed(sku)
  await makeOverdue(serving.database.db, late.hold_id)
  expect(await shop.onPaid(late, gateway)).toBe('ship')
  const sold_out = await stocked(1)
  const later = await placed(sold_out)
  await makeOverdue(serving.database.db, later.hold_id)
  await placed(sold_out)
  asked.length = 0
  expect(await shop.onPaid(later, gateway)).toBe('refunded')
  expect(asked).toEqual([`refund ${later.payment_id}`])
})

test('news are read on from where they were left', async () => {
  const seen: string[] = []
  let after = 0
  const readAll = async () => {
    for (let before = -1; before !== after;) {
      before = after
      after = await shop.readNews(after, (event) => void seen.push(`${event.type} ${event.data.reference ?? ''}`))
    }
  }
  await readAll()
  seen.length = 0
  const order = await placed(await stocked(1))
  await readAll()
  expect(seen).toEqual([`reservation.created ${order.id}`, 'stock.sold_out '])
  await readAll()
  expect(seen).toHaveLength(2)
})

test('open orders are held at the cut-over, the oldest first; it may be run again', async () => {
  const [a, b] = [`old-${++count}`, `old-${++count}`]
  const now = Date.now()
  const open = (id: string, sku: string, age: number, minutes_left: number) => ({
    id,
    lines: [{ sku, quantity: 1 }],
    created_at: now - age,
    pay_until: now + minutes_left * 60_000,
    hold_id: undefined as string | undefined,
  })
  const orders = [open('young', a, 1, 20), open('old', a, 3, 10), open('over', a, 4, -1), open('other', b, 2, 5)]
  const shelf = [
    { sku: a, stock: 1 },
    { sku: b, stock: 4 },
  ]
  for (let i = 0; i < 2; i++) {
    expect(await admin.cutOver(shelf, orders)).toEqual(['young'])
    // The second run is a minute later.
    for (const order of orders) order.pay_until -= 60_000
  }
  expect([await counters(serving.database.db, a), await counters(serving.database.db, b)]).toEqual(['1/1', '4/1'])
  const { data } = await shop.stock.GET('/v1/reservations', { params: { query: { reference: 'old' } } })
  expect(data?.data).toMatchObject([{ id: orders[1]!.hold_id, status: 'pending' }])
})
