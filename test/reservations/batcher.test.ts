import { jest } from '@jest/globals'
import { pino } from 'pino'
import { DatabaseUnavailable, ok } from '../../src/errors.ts'
import { Batcher } from '../../src/reservations/batcher.ts'
import type { BatcherLimits } from '../../src/reservations/batcher_limits.ts'
import { Blocked, KEYS } from '../../src/reservations/blocked.ts'
import type { Looked } from '../../src/reservations/look.ts'
import type { Operation, Outcome } from '../../src/reservations/plan.ts'
import type { Reservation } from '../../src/reservations/reservation.ts'
import { until } from '../factories.ts'

/** The queue alone: what flies is decided here. */

// A clock that a failed test has stopped would stop those after it.
afterEach(() => {
  jest.restoreAllMocks()
})

type Flight = {
  ids: string[]
  land: () => void
  fail: (error: unknown) => void
  /** Says that all was sent, so that the next batch may be looked at. */
  sent: () => void
  /** Whom the look that it was given is of. */
  looked: Promise<string[] | undefined>
}

function setUp(limits: Partial<BatcherLimits> = {}) {
  const flights: Flight[] = []
  const flown: string[][] = []
  const tried: string[][] = []
  const looks: string[][] = []
  const looked_at = new WeakMap<object, string[]>()
  let automatic = false
  const batcher = new Batcher({
    fly: (operations, { apart, looked, onSent = () => undefined }) => {
      const ids = operations.map((operation) => operation.id)
      tried.push(ids)
      const blocked = new Map(
        operations.filter((one) => apart?.has(`sku:${skuOf(one)}`)).map((one) => [one, `sku:${skuOf(one)}`]),
      )
      if (blocked.size > 0) return Promise.reject(new Blocked(blocked))
      flown.push(ids)
      return new Promise((resolve, reject) => {
        const land = () => resolve(new Map(operations.map((operation) => [operation, held(operation)])))
        if (automatic) land()
        else {
          const by_whom = Promise.resolve(looked).then((look) => look && looked_at.get(look))
          flights.push({ ids, land, fail: (error) => reject(error as Error), sent: onSent, looked: by_whom })
        }
      })
    },
    look(operations) {
      const look = {} as Looked
      looks.push(operations.map((operation) => operation.id))
      looked_at.set(look, looks.at(-1)!)
      return Promise.resolve(look)
    },
    log: pino({ level: 'silent' }),
    observeBatch: () => undefined,
    observeWait: () => undefined,
    limits,
  })
  return {
    batcher,
    flights,
    /** What flew, and what was to fly but named a row that others wait for. */
    flown,
    tried,
    looks,
    /** From now on every flight lands at once. */
    landAll() {
      automatic = true
      for (const flight of flights.splice(0)) flight.land()
    },
  }
}

/** A reserve of one unit, or of several lines; `id` tells several of one SKU apart. */
function want(sku: string, id = sku, line_count = 1): Operation {
  const lines = Array.from({ length: line_count }, () => ({ sku, quantity: 1 }))
  return {
    verb: 'reserve',
    id,
    lines,
    request: { client: '', lines },
    ttl_seconds: 1,
    strategy: 'batched',
    ttl_variant: null,
  }
}

function skuOf(operation: Operation): string {
  return operation.verb === 'reserve' ? (operation.lines[0]?.sku ?? '') : ''
}

function held(operation: Operation): Outcome {
  return ok({ reservation: { id: operation.id } as Reservation, replayed: false })
}

function codeOf(outcome: Outcome): string {
  return outcome.ok ? 'held' : outcome.refusal.code
}

test('what arrives in one turn shares a flight; what arrives meanwhile gathers for the next, in order', async () => {
  const { batcher, flights, flown, landAll } = setUp()
  const first = [batcher.submit(want('a')), batcher.submit(want('b'))]
  await until(() => flights.length === 1)
  const second = [batcher.submit(want('c')), batcher.submit(want('a')), batcher.submit(want('d'))]
  expect(batcher.state()).toMatchObject({ length: 3 })
  landAll()
  expect((await Promise.all([...first, ...second])).map(codeOf)).toEqual(Array.from({ length: 5 }, () => 'held'))
  expect(flown).toEqual([
    ['a', 'b'],
    ['c', 'a', 'd'],
  ])
})

test('a flight takes so many requests and so many lines at most, and at least one request', async () => {
  const { batcher, flown, landAll } = setUp({ batch_size_max: 3, batch_lines_max: 4 })
  landAll()
  const lines = Array.from({ length: 9 }, (_, i) => ({ sku: `line ${i}`, quantity: 1 }))
  const wide: Operation = {
    verb: 'reserve',
    id: 'wide',
    lines,
    request: { client: '', lines },
    ttl_seconds: 1,
    strategy: 'batched',
    ttl_variant: null,
  }
  await Promise.all(
    [...'abcde'].map((sku) => batcher.submit(want(sku))).concat(batcher.submit(wide), batcher.submit(want('f'))),
  )
  expect(flown).toEqual([['a', 'b', 'c'], ['d', 'e', 'wide'], ['f']])
})

test('past its bound the queue refuses at once, and takes again when it has been emptied', async () => {
  const { batcher, flights, landAll } = setUp({ length_max: 3 })
  const taken = [batcher.submit(want('a'))]
  await until(() => flights.length === 1)
  for (const sku of ['b', 'c', 'd']) taken.push(batcher.submit(want(sku)))
  expect(batcher.hasRoom(1)).toBe(false)
  expect(codeOf(await batcher.submit(want('e')))).toBe('overloaded')
  landAll()
  expect((await Promise.all(taken)).map(codeOf)).toEqual(['held', 'held', 'held', 'held'])
  expect([batcher.hasRoom(3), batcher.hasRoom(4)]).toEqual([true, false])
})

test('who waited too long is dropped unexecuted, who came later is not', async () => {
  const { batcher, flights, flown, landAll } = setUp({ wait_ms_max: 1000 })
  const first = batcher.submit(want('first'))
  await until(() => flights.length === 1)
  const late = batcher.submit(want('late'))
  jest.spyOn(performance, 'now').mockReturnValue(performance.now() + 1100)
  const fresh = batcher.submit(want('fresh'))
  landAll()
  expect((await Promise.all([first, late, fresh])).map(codeOf)).toEqual(['held', 'overloaded', 'held'])
  expect(flown).toEqual([['first'], ['fresh']])
})

test('whose client left before the flight is dropped unexecuted, whose client leaves during it is not', async () => {
  const { batcher, flights, flown, landAll } = setUp()
  const [during, before] = [new AbortController(), new AbortController()]
  const flying = batcher.submit(want('flying'), during.signal)
  await until(() => flights.length === 1)
  const left = batcher.submit(want('left'), before.signal)
  before.abort()
  during.abort()
  landAll()
  expect((await Promise.all([flying, left])).map(codeOf)).toEqual(['held', 'overloaded'])
  expect(flown).toEqual([['flying']])
})

test('a flight that fails is run again in halves until the one that fails is alone: the others are answered', async () => {
  const { batcher, flights, flown } = setUp()
  const skus = ['a', 'b', 'c', 'd', 'bad', 'f', 'g', 'h']
  const answers = skus.map((sku) => batcher.submit(want(sku)).then(codeOf, (error: Error) => error.message))
  void (async () => {
    for (;;) {
      await until(() => flights.length > 0)
      const flight = flights.shift()
      if (flight?.ids.includes('bad') === true) flight.fail(new Error('cannot be done'))
      else flight?.land()
      if (flight?.ids.at(-1) === 'h' && !flight.ids.includes('bad')) return
    }
  })()
  expect(await Promise.all(answers)).toEqual(['held', 'held', 'held', 'held', 'cannot be done', 'held', 'held', 'held'])
  expect(flown.map((flight) => flight.length)).toEqual([8, 4, 4, 2, 1, 1, 2])
})

test.each(['none', 'unknown'] as const)(
  'a lost database is told to all of the flight, outcome %s, and not to the next',
  async (outcome) => {
    const { batcher, flights, landAll } = setUp()
    const lost = [batcher.submit(want('a')), batcher.submit(want('b'))]
    await until(() => flights.length === 1)
    const next = batcher.submit(want('c'))
    flights.shift()?.fail(new DatabaseUnavailable(outcome, undefined))
    const refusal = { code: 'database_unavailable', outcome }
    expect(await Promise.all(lost)).toMatchObject([{ refusal }, { refusal }])
    await until(() => flights.length === 1)
    landAll()
    expect(codeOf(await next)).toBe('held')
  },
)

describe('a row that another session keeps locked', () => {
  /** A batcher whose first flight, of `stuck` and `other`, met a lock on `stuck`. */
  async function setUpStuck(limits: Partial<BatcherLimits> = {}) {
    const set_up = setUp(limits)
    const operations = [want('stuck'), want('other')]
    const answers = operations.map((operation) => set_up.batcher.submit(operation))
    await until(() => set_up.flights.length === 1)
    set_up.flights.shift()?.fail(new Blocked(new Map([[operations[0]!, 'sku:stuck']])))
    await until(() => set_up.flights.length === 2)
    const lane = set_up.flights.find(({ ids }) => ids.includes('stuck'))!
    const main = set_up.flights.find(({ ids }) => !ids.includes('stuck'))!
    set_up.flights.length = 0
    return { ...set_up, operation: operations[0]!, stuck: answers[0]!, other: answers[1]!, lane, main }
  }

  test('its requests wait apart while the others fly, and newcomers for it join them without a try', async () => {
    const { batcher, flown, tried, stuck, other, lane, main, landAll } = await setUpStuck()
    main.land()
    expect(codeOf(await other)).toBe('held')
    const newcomers = [batcher.submit(want('stuck')), batcher.submit(want('free'))]
    await until(() => flown.some(([sku]) => sku === 'free'))
    expect(batcher.state().lanes).toEqual([{ subject: 'sku:stuck', length: 1 }])
    landAll()
    lane.land()
    expect((await Promise.all([stuck, ...newcomers])).map(codeOf)).toEqual(['held', 'held', 'held'])
    expect(flown).toEqual([['stuck', 'other'], ['stuck'], ['other'], ['free'], ['stuck']])
    expect(tried).toEqual(flown)
    expect(batcher.state().lanes).toEqual([])
  })

  test('its requests stay in order however often they are tried', async () => {
    const { batcher, operation, stuck, flights, flown, lane, main, landAll } = await setUpStuck()
    main.land()
    const later = [batcher.submit(want('stuck', 'second')), batcher.submit(want('stuck', 'third'))]
    await until(() => batcher.state().lanes[0]?.length === 2)
    lane.fail(new Blocked(new Map([[operation, 'sku:stuck']])))
    await until(() => flights.length === 1)
    landAll()
    expect((await Promise.all([stuck, ...later])).map(codeOf)).toEqual(['held', 'held', 'held'])
    expect(flown.at(-1)).toEqual(['stuck', 'second', 'third'])
  })

  test('while they wait nothing is looked at ahead: any of the queue may have to join them', async () => {
    const { batcher, stuck, looks, lane, main, landAll } = await setUpStuck()
    const next = batcher.submit(want('next'))
    main.sent()
    expect(looks).toEqual([])
    landAll()
    main.land()
    lane.land()
    await Promise.all([stuck, next])
  })

  test('so many wait for locked rows at most, one more is refused', async () => {
    const { batcher, lane, main, landAll } = await setUpStuck({ lanes_length_max: 2 })
    main.land()
    const waiting = [batcher.submit(want('stuck')), batcher.submit(want('stuck'))]
    await until(() => batcher.state().lanes[0]?.length === 2)
    expect(codeOf(await batcher.submit(want('stuck')))).toBe('overloaded')
    landAll()
    lane.land()
    expect((await Promise.all(waiting)).map(codeOf)).toEqual(['held', 'held'])
  })

  test('so many rows are waited for apart at most, requests for one more are refused', async () => {
    const { batcher, flights, lane, main, landAll } = await setUpStuck({ lanes_max: 1 })
    main.land()
    const another = want('another')
    const refused = batcher.submit(another)
    await until(() => flights.length === 1)
    flights.shift()?.fail(new Blocked(new Map([[another, 'sku:another']])))
    expect(codeOf(await refused)).toBe('overloaded')
    landAll()
    lane.land()
  })

  test('one that needs another locked row than its lane is for goes on waiting for that one', async () => {
    const { batcher, flights, lane, main, landAll } = await setUpStuck()
    main.land()
    const keyed = want('elsewhere')
    const answer = batcher.submit(keyed)
    await until(() => flights.length === 1)
    flights.shift()?.fail(new Blocked(new Map([[keyed, KEYS]])))
    await until(() => flights.length === 1)
    flights.shift()?.fail(new Blocked(new Map([[keyed, 'sku:elsewhere']])))
    await until(() => flights.length === 1)
    expect(batcher.state().lanes.map(({ subject }) => subject)).toContain('sku:elsewhere')
    landAll()
    lane.land()
    expect(codeOf(await answer)).toBe('held')
  })

  test('a key that is still in flight elsewhere after its request was tried alone is in use', async () => {
    const { batcher, flights, lane, main, landAll } = await setUpStuck()
    main.land()
    const operations = [want('a'), want('b')]
    const answers = operations.map((operation) => batcher.submit(operation))
    await until(() => flights.length === 1)
    flights.shift()?.fail(new Blocked(new Map(operations.map((operation) => [operation, KEYS]))))
    await until(() => flights.length === 1)
    flights.shift()?.fail(new Blocked(new Map([[operations[0]!, KEYS]])))
    landAll()
    lane.land()
    expect((await Promise.all(answers)).map(codeOf)).toEqual(['idempotency_key_in_use', 'held'])
  })
})

test('stopping takes nothing more and answers all that was taken, also those that wait apart', async () => {
  const { batcher, flights, landAll } = setUp({ wait_ms_max: 50 })
  const stuck = want('stuck')
  const answers = [batcher.submit(stuck), batcher.submit(want('a'))]
  await until(() => flights.length === 1)
  answers.push(batcher.submit(want('b')))
  let answered = 0
  for (const answer of answers) void answer.then(() => (answered += 1))
  const stopped = batcher.stop()
  expect(codeOf(await batcher.submit(want('too late')))).toBe('overloaded')
  flights.shift()?.fail(new Blocked(new Map([[stuck, 'sku:stuck']])))
  await until(() => flights.length === 2)
  landAll()
  await stopped
  expect(answered).toBe(3)
  expect((await Promise.all(answers)).map(codeOf)).toEqual(['held', 'held', 'held'])
})

test('when the halves of a lane are run apart and one meets the lock again, all are answered before stopping ends', async () => {
  let flights = 0
  const batcher = new Batcher({
    fly(operations) {
      flights += 1
      const blocked = new Blocked(new Map(operations.map((operation) => [operation, 'sku:stuck'])))
      // The main queue's, then the lane's three together, then the second of their halves.
      if (flights === 1 || flights === 5) return Promise.reject(blocked)
      if (flights === 3) return Promise.reject(new Error('one of them is a bug'))
      return Promise.resolve(new Map(operations.map((operation) => [operation, held(operation)])))
    },
    log: pino({ level: 'silent' }),
    observeBatch: () => undefined,
    observeWait: () => undefined,
  })
  let answered = 0
  for (const id of ['1', '2', '3']) void batcher.submit(want('stuck', id)).finally(() => (answered += 1))
  await until(() => flights >= 3)
  await batcher.stop()
  expect(answered).toBe(3)
})

test('stopping when there is nothing to do is done at once', async () => {
  await setUp().batcher.stop()
})

describe('the next batch is looked at while the last one commits', () => {
  test('what waits by then takes off with that look, what comes later waits for its own', async () => {
    const { batcher, flights, looks, landAll } = setUp()
    const answers = [batcher.submit(want('a'))]
    await until(() => flights.length === 1)
    answers.push(batcher.submit(want('b')), batcher.submit(want('c')))
    flights[0]!.sent()
    answers.push(batcher.submit(want('d')))
    flights[0]!.land()
    await until(() => flights.length === 2)
    expect(looks).toEqual([['b', 'c']])
    expect(flights[1]!.ids).toEqual(['b', 'c'])
    expect(await flights[1]!.looked).toEqual(['b', 'c'])
    flights[1]!.land()
    await until(() => flights.length === 3)
    expect(flights[2]!.ids).toEqual(['d'])
    expect(await flights[2]!.looked).toBeUndefined()
    landAll()
    expect((await Promise.all(answers)).map(codeOf)).toEqual(['held', 'held', 'held', 'held'])
  })

  test('not while few wait: they would fly without those who come in time', async () => {
    const { batcher, flights, looks, landAll } = setUp()
    const answers = ['a', 'b', 'c', 'd'].map((id) => batcher.submit(want('sku', id)))
    await until(() => flights.length === 1)
    answers.push(batcher.submit(want('e')), batcher.submit(want('f')))
    flights[0]!.sent()
    expect(looks).toEqual([])
    answers.push(batcher.submit(want('g')))
    flights[0]!.sent()
    expect(looks).toEqual([['e', 'f', 'g']])
    landAll()
    await Promise.all(answers)
  })

  test.each([
    ['requests', { batch_size_max: 2 }],
    ['lines', { batch_lines_max: 6 }],
  ])('no more than a batch may have of %s', async (_, limits) => {
    const { batcher, flights, looks, landAll } = setUp(limits)
    const answers = ['a', 'b', 'c', 'd', 'e'].map((id) => batcher.submit(want(id, id, 3)))
    await until(() => flights.length === 1)
    flights[0]!.sent()
    expect(looks).toEqual([['c', 'd']])
    landAll()
    await Promise.all(answers)
  })

  test('not where commits take long, and again when they no longer do', async () => {
    const { batcher, flights, looks, landAll } = setUp()
    const clock = jest.spyOn(performance, 'now')
    let now = performance.now()
    clock.mockImplementation(() => now)
    const answers = [batcher.submit(want('0'))]
    const commit = async (round: number, takes_ms: number) => {
      await until(() => flights.length === round)
      answers.push(batcher.submit(want(`${round}`)))
      flights[round - 1]!.sent()
      now += takes_ms
      flights[round - 1]!.land()
    }
    await commit(1, 300)
    await commit(2, 0)
    expect(looks).toEqual([['1']])
    await commit(3, 0)
    expect(looks).toEqual([['1'], ['3']])
    clock.mockRestore()
    landAll()
    await Promise.all(answers)
  })

  test('if one of them leaves meanwhile, nobody uses the look', async () => {
    const { batcher, flights, looks, landAll } = setUp()
    const leaving = new AbortController()
    const answers = [
      batcher.submit(want('a')),
      ...[want('b'), want('c')].map((one) =>
        until(() => flights.length === 1).then(() => batcher.submit(one, one.id === 'b' ? leaving.signal : undefined)),
      ),
    ]
    await until(() => flights.length === 1 && batcher.state().length === 2)
    flights[0]!.sent()
    expect(looks).toEqual([['b', 'c']])
    leaving.abort()
    flights[0]!.land()
    await until(() => flights.length === 2)
    expect(flights[1]!.ids).toEqual(['c'])
    expect(await flights[1]!.looked).toBeUndefined()
    landAll()
    expect((await Promise.all(answers)).map(codeOf)).toEqual(['held', 'overloaded', 'held'])
  })

  test('not of a queue whose head has waited for long: it would be dropped', async () => {
    const { batcher, flights, looks, landAll } = setUp()
    const answers = [batcher.submit(want('a'))]
    await until(() => flights.length === 1)
    answers.push(batcher.submit(want('b')))
    const now = performance.now()
    const clock = jest.spyOn(performance, 'now').mockReturnValue(now + 600)
    flights[0]!.sent()
    clock.mockRestore()
    expect(looks).toEqual([])
    flights[0]!.sent()
    expect(looks).toEqual([['b']])
    landAll()
    await Promise.all(answers)
  })
})
