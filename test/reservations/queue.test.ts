import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals'
import { pino } from 'pino'
import { schemaState } from '../../src/database/migrations.ts'
import { createPool } from '../../src/database/pool.ts'
import { rows } from '../../src/database/transaction.ts'
import { newId } from '../../src/ids.ts'
import { createMetrics } from '../../src/metrics.ts'
import { verify } from '../../src/operations/verify.ts'
import { LIMITS } from '../../src/reservations/batcher_limits.ts'
import { fly } from '../../src/reservations/flight.ts'
import type { Outcome, Reserve } from '../../src/reservations/plan.ts'
import type { ReserveRequest } from '../../src/reservations/reservation.ts'
import { createQueue } from '../../src/reservations/strategies/queue.ts'
import { QUEUE_LIMITS, type QueueLimits } from '../../src/reservations/strategies/queue_limits.ts'
import { CannotStart, type Strategy } from '../../src/reservations/strategies/strategy.ts'
import { createTurns } from '../../src/database/turns.ts'
import { lockLevels } from '../../src/stock/queries.ts'
import { createTestDatabase, type TestDatabase } from '../database.ts'
import {
  begin,
  counters,
  findBroken,
  gate,
  hold,
  LOOK,
  keyed,
  must,
  openCore,
  refusal,
  settingsOf,
  stocked,
  stopCores,
  until,
  wants,
} from '../factories.ts'
import { startStopwatch } from '../stopwatch.ts'

describe('in particular', () => {
  let database: TestDatabase
  const opened = new Set<() => Promise<void>>()

  beforeAll(async () => {
    database = await createTestDatabase()
  })
  afterEach(async () => {
    await Promise.all(Array.from(opened, (stop) => stop()))
    await stopCores()
    await rows(database.db, 'DELETE FROM pgboss.job')
    expect(await findBroken(database.db)).toEqual([])
  })
  afterAll(() => database.drop())

  type Process = {
    queue: Strategy
    /** Reserves as the service does, and under which id. */
    reserve(request: ReserveRequest, signal?: AbortSignal): Promise<Outcome> & { id: string }
    metrics(): Promise<string>
    logged: string[]
    /** Takes the database away from it. */
    cutOff(): Promise<void>
  }

  type ProcessOptions = Partial<QueueLimits> & { workers?: number; url?: string; lock_timeout_ms?: number }

  /** A process as far as this strategy goes; without workers its jobs are run by others. */
  async function open({
    workers = 1,
    url = database.url,
    lock_timeout_ms = 250,
    ...limits
  }: ProcessOptions = {}): Promise<Process> {
    const timeouts = { lock_timeout_ms, statement_timeout_ms: 5000 }
    const pool = createPool({ ...timeouts, url, max: 6, application_name: 'queue' })
    const metrics = createMetrics({ process_metrics: false })
    const logged: string[] = []
    const flights = {
      db: pool,
      onClosed: undefined,
      known_locked: new Set<string>(),
      ttl_max_seconds: 86_400,
      observePhase: () => undefined,
    }
    const parts = {
      known_locked: flights.known_locked,
      submit: () => Promise.reject(new Error('a job needs no batch')),
      onMoved: () => undefined,
      queueHasRoom: () => true,
      fly: (...[operations, options]: Parameters<Parameters<typeof createQueue>[0]['fly']>) =>
        fly(flights, operations, { ...options, deadline: performance.now() + LIMITS.wait_ms_max }),
      turns: createTurns({ at_once_max: 4 }),
      flights_max: 4,
      db: pool,
      settings: { ...settingsOf(url), queue_workers: workers },
      meter: metrics.strategy('queue'),
      log: pino({ level: 'warn' }, { write: (line) => void logged.push(line) }),
    }
    const queue = createQueue(parts, { poll_ms: 20, watch_ms: 10, ...limits })
    const stop = async (): Promise<void> => {
      opened.delete(stop)
      await queue.stop().catch(() => undefined)
      await pool.destroy()
    }
    opened.add(stop)
    await queue.start?.()
    return {
      queue,
      reserve(request, signal) {
        const operation = operationOf(request)
        return Object.assign(queue.reserve(operation, signal), { id: operation.id })
      },
      metrics: () => metrics.text(),
      logged,
      cutOff: () => pool.destroy(),
    }
  }

  function operationOf(request: ReserveRequest): Reserve {
    const { lines } = request
    return { verb: 'reserve', id: newId(), lines, request, ttl_seconds: 1800, strategy: 'queue', ttl_variant: null }
  }

  type StoredJob = { state: string; retry_count: number; output: Record<string, unknown> | null }

  async function jobOf(id: string): Promise<StoredJob | undefined> {
    const [job] = await rows<StoredJob>(
      database.db,
      `SELECT state, retry_count, output FROM pgboss.job WHERE name = 'reserve' AND id = ?`,
      [id],
    )
    return job
  }

  const isThere = (id: string) => until(async () => (await jobOf(id)) !== undefined)

  /** A worker of some other process takes the job and is never heard of again. */
  async function handToADeadWorker(id: string, seconds_ago = 10): Promise<void> {
    await rows(
      database.db,
      `UPDATE pgboss.job SET state = 'active', started_on = now() - ? * interval '1 second' WHERE name = 'reserve' AND id = ?`,
      [seconds_ago, id],
    )
  }

  /** Asks a process that has no workers, and a worker that is gone has the job. */
  async function askOfTheDead(options: ProcessOptions) {
    const sku = await stocked(database.db)
    const asking = await open({ workers: 0, ...options })
    const asked = asking.reserve(wants(sku))
    await isThere(asked.id)
    await handToADeadWorker(asked.id, 0)
    return { sku, asking, asked }
  }

  async function deadLetters(): Promise<{ data: { operation: Reserve }; output: { message: string } }[]> {
    return rows(database.db, `SELECT data, output FROM pgboss.job WHERE name = 'reserve-dead-letters'`)
  }

  /** A request that no door would let in: it makes the database refuse the move. */
  const poisoned = (sku: string) => wants([{ sku, quantity: -1 }])

  describe('in order', () => {
    test('one process, one worker: reserves are decided in the order in which they came', async () => {
      const sku = await stocked(database.db, 30)
      const one = await open()
      const asked = Array.from({ length: 50 }, () => one.reserve(wants(sku)))
      const answers = await Promise.all(asked)
      expect(answers.map((answer) => answer.ok)).toEqual(answers.map((_, n) => n < 30))
      const held = await rows<{ id: string }>(
        database.db,
        `SELECT reservation_id AS id FROM stock_ledger WHERE sku = ? AND kind = 'reserve' ORDER BY seq`,
        [sku],
      )
      expect(held.map(({ id }) => id)).toEqual(asked.slice(0, 30).map(({ id }) => id))
    })

    test('the reservation and the end of its job are one transaction', async () => {
      const one = await open()
      const { reservation } = must(await one.reserve(wants(await stocked(database.db))))
      const writers = await rows<{ xmin: string }>(
        database.db,
        `SELECT xmin::text FROM reservations WHERE id = ? UNION SELECT xmin::text FROM pgboss.job WHERE id = ?`,
        [reservation.id, reservation.id],
      )
      expect(writers).toHaveLength(1)
    })

    test('over processes: who came first is first, whoever has the worker', async () => {
      const sku = await stocked(database.db, 2)
      const [first, second] = [await open({ workers: 0 }), await open({ workers: 0 })]
      const asked = [first.reserve(wants(sku))]
      await isThere(asked[0]!.id)
      asked.push(second.reserve(wants(sku)))
      await isThere(asked[1]!.id)
      asked.push(first.reserve(wants(sku)))
      await isThere(asked[2]!.id)
      await open()
      expect((await Promise.all(asked)).map((answer) => answer.ok)).toEqual([true, true, false])
    })
  })

  describe('run by another process', () => {
    test('a hold, a refusal and a replay are told as if they had been decided here', async () => {
      const sku = await stocked(database.db, 3)
      const [here] = [await open({ workers: 0 }), await open()]
      const { reservation } = must(await here.reserve(wants([{ sku, quantity: 2 }], keyed('once'))))
      expect(reservation).toMatchObject({ status: 'pending', strategy: 'queue', lines: [{ sku, quantity: 2 }] })
      const again = must(await here.reserve(wants([{ sku, quantity: 2 }], keyed('once'))))
      expect(again).toEqual({ replayed: true, reservation })
      expect(refusal(await here.reserve(wants([{ sku, quantity: 2 }])))).toEqual({
        code: 'insufficient_stock',
        shortages: [{ sku, requested: 2, available: 1 }],
      })
    })

    test('a job that fails there is an error here', async () => {
      const sku = await stocked(database.db)
      const [here] = [await open({ workers: 0 }), await open()]
      await expect(here.reserve(poisoned(sku))).rejects.toThrow(/^a job failed: .*stock_covers_reserved/)
    })
  })

  describe('a request whose time is over', () => {
    test('before its job began: told that nothing was done, and nothing ever is', async () => {
      const sku = await stocked(database.db)
      const asking = await open({ workers: 0, wait_ms_max: 30 })
      const asked = asking.reserve(wants(sku))
      expect(refusal(await asked).code).toBe('overloaded')
      expect(await jobOf(asked.id)).toMatchObject({ state: 'cancelled' })
      const working = await open()
      must(await working.reserve(wants(sku)))
      expect(await counters(database.db, sku)).toBe('10/1')
    })

    test('while another process has its job: told unknown, and the job is not begun again', async () => {
      const { sku, asked } = await askOfTheDead({ answer_ms_max: 100, wait_ms_max: 50 })
      expect(refusal(await asked)).toEqual({ code: 'database_unavailable', outcome: 'unknown' })
      await rows(database.db, `UPDATE pgboss.job SET state = 'retry', created_on = created_on - interval '5 seconds'`)
      const working = await open()
      must(await working.reserve(wants(sku)))
      expect(await jobOf(asked.id)).toMatchObject({ state: 'completed', output: { refusal: { code: 'overloaded' } } })
      expect(await counters(database.db, sku)).toBe('10/1')
    })

    test('its client leaves before the job began: it is withdrawn', async () => {
      const sku = await stocked(database.db)
      const asking = await open({ workers: 0 })
      const client = new AbortController()
      const asked = asking.reserve(wants(sku), client.signal)
      await isThere(asked.id)
      client.abort()
      expect(refusal(await asked).code).toBe('overloaded')
      expect(await jobOf(asked.id)).toMatchObject({ state: 'cancelled' })
    })
  })

  describe('a worker that dies', () => {
    test('after it took a job and before it wrote: another one runs it while the request waits', async () => {
      const sku = await stocked(database.db)
      const asking = await open({ workers: 0, take_back_ms: 1 })
      const asked = asking.reserve(wants(sku))
      await isThere(asked.id)
      await handToADeadWorker(asked.id)
      await open()
      expect(must(await asked).reservation.id).toBe(asked.id)
      expect(await jobOf(asked.id)).toMatchObject({ state: 'completed', retry_count: 1 })
      expect(await counters(database.db, sku)).toBe('10/1')
    })

    test('again and again: the job becomes a dead letter, and its request is told', async () => {
      const sku = await stocked(database.db)
      const asking = await open({ workers: 0, take_back_ms: 1 })
      const asked = asking.reserve(wants(sku))
      await isThere(asked.id)
      await rows(database.db, `UPDATE pgboss.job SET retry_count = ?`, [QUEUE_LIMITS.retries_max])
      await handToADeadWorker(asked.id)
      await expect(asked).rejects.toThrow('a job failed')
      expect((await deadLetters()).map(({ data }) => data.operation.id)).toEqual([asked.id])
      expect(await counters(database.db, sku)).toBe('10/0')
    })

    test('one that only was late writes nothing any more: the job has one effect and one answer', async () => {
      const sku = await stocked(database.db)
      const other_sku = await stocked(database.db)
      const working = await open({ workers: 0 })
      const late = openCore(database, {
        strategy: 'queue',
        settings: { queue_workers: 1 },
        after: {
          statement: LOOK,
          async happens() {
            // It looked, and then for long did nothing: its job was handed out again, and run.
            await rows(database.db, `UPDATE pgboss.job SET state = 'retry' WHERE state = 'active'`)
            const prompt = await open()
            must(await prompt.reserve(wants(other_sku)))
          },
        },
      })
      await late.reservations.start()
      const { reservation, replayed } = must(await late.reservations.reserve(wants(sku)))
      expect(await jobOf(reservation.id)).toMatchObject({ state: 'completed', retry_count: 1 })
      expect(replayed).toBe(false)
      expect(late.logged.filter((line) => Number(line['level']) > 30)).toEqual([])
      expect(await counters(database.db, sku)).toBe('10/1')
      await working.queue.stop()
    })

    test('one that was late for a job that was withdrawn meanwhile writes nothing', async () => {
      const sku = await stocked(database.db)
      const asking = await open({ workers: 0 })
      const client = new AbortController()
      const told = gate()
      const late = openCore(database, {
        strategy: 'queue',
        settings: { queue_workers: 1 },
        after: {
          statement: LOOK,
          async happens() {
            await rows(database.db, `UPDATE pgboss.job SET state = 'retry' WHERE state = 'active'`)
            client.abort()
            await told.opened
          },
        },
      })
      const asked = asking.reserve(wants(sku), client.signal)
      await isThere(asked.id)
      await late.reservations.start()
      expect(refusal(await asked).code).toBe('overloaded')
      told.open()
      await late.stop()
      expect(await jobOf(asked.id)).toMatchObject({ state: 'cancelled' })
      expect(await counters(database.db, sku)).toBe('10/0')
    })

    test('a refusal that came too late is not told: the run that took over decides', async () => {
      const sku = await stocked(database.db, 1)
      const other = openCore(database)
      const held = await hold(other.reservations, sku)
      const late = openCore(database, {
        strategy: 'queue',
        settings: { queue_workers: 1 },
        after: {
          statement: LOOK,
          async happens() {
            must(await other.reservations.release({ id: held.id }))
            await rows(database.db, `UPDATE pgboss.job SET state = 'retry' WHERE state = 'active'`)
            const prompt = await open()
            await until(async () => (await counters(database.db, sku)) === '1/1')
            await prompt.queue.stop()
          },
        },
      })
      await late.reservations.start()
      const { reservation } = must(await late.reservations.reserve(wants(sku)))
      expect(await jobOf(reservation.id)).toMatchObject({ state: 'completed', output: { ok: true } })
    })
  })

  describe('a poisoned job', () => {
    test('is tried again as often as it may be, ends as a dead letter, and holds up nobody', async () => {
      const [sku, other_sku] = [await stocked(database.db), await stocked(database.db)]
      const one = await open()
      const asked = one.reserve(poisoned(sku))
      const next = one.reserve(wants(other_sku))
      await expect(asked).rejects.toThrow('stock_covers_reserved')
      must(await next)
      const [letter, ...more] = await deadLetters()
      expect(more).toEqual([])
      expect(letter?.data.operation).toMatchObject({ id: asked.id, lines: [{ sku, quantity: -1 }] })
      expect(letter?.output.message).toContain('stock_covers_reserved')
      // PostgreSQL's DETAIL has the whole row.
      expect(JSON.stringify(letter?.output)).not.toContain('Failing row')
      expect(await jobOf(asked.id)).toMatchObject({ state: 'failed', retry_count: QUEUE_LIMITS.retries_max })
      await until(async () =>
        (await one.metrics()).includes('stock_strategy_level{strategy="queue",what="dead_letters"} 1'),
      )
      expect(await one.metrics()).toContain('stock_strategy_events_total{strategy="queue",event="retry"} 2')
      expect(one.logged.some((line) => line.includes('it is a dead letter'))).toBe(true)
    })

    test('that can not even be added fails alone', async () => {
      const sku = await stocked(database.db)
      const one = await open()
      const asked = [
        one.reserve(wants(sku)),
        one.reserve(wants(sku, { reference: 'a\u0000b' })),
        one.reserve(wants(sku)),
      ] as const
      const [before, bad, after] = await Promise.allSettled(asked)
      expect([before.status, bad.status, after.status]).toEqual(['fulfilled', 'rejected', 'fulfilled'])
      expect(await counters(database.db, sku)).toBe('10/2')
    })
  })

  describe('told to stop', () => {
    test('what has not begun in time is withdrawn, what others have is unknown, what comes later is refused', async () => {
      const sku = await stocked(database.db)
      const stopping = await open({ workers: 0, stop_ms_max: 20 })
      const [taken, waiting] = [stopping.reserve(wants(sku)), stopping.reserve(wants(sku))]
      await isThere(waiting.id)
      await handToADeadWorker(taken.id, 0)
      const stopped = stopping.queue.stop()
      expect(refusal(await stopping.reserve(wants(sku))).code).toBe('overloaded')
      expect(refusal(await taken)).toEqual({ code: 'database_unavailable', outcome: 'unknown' })
      expect(refusal(await waiting)).toMatchObject({ code: 'overloaded', detail: 'This instance is stopping.' })
      await stopped
      expect(await jobOf(waiting.id)).toMatchObject({ state: 'cancelled' })
    })

    test('it ends the jobs that it has begun, those of other processes too', async () => {
      const sku = await stocked(database.db)
      const asking = await open({ workers: 0 })
      const asked = Array.from({ length: 10 }, () => asking.reserve(wants(sku)))
      await isThere(asked[9]!.id)
      const working = await open({ workers: 2 })
      await until(async () => (await counters(database.db, sku)) !== '10/0')
      await working.queue.stop()
      expect(await rows(database.db, `SELECT 1 FROM pgboss.job WHERE state = 'active'`)).toEqual([])
      await open()
      for (const answer of await Promise.all(asked)) must(answer)
    })
  })

  test('a row that another session keeps locked: its buyers are refused at once, those of other SKUs served as before', async () => {
    const [stuck, free] = [await stocked(database.db), await stocked(database.db)]
    const one = await open({ workers: 2 })
    const other = await begin(database.db)
    await lockLevels(other, [stuck])
    const asked = Array.from({ length: 60 }, () => one.reserve(wants(stuck)))
    const took_ms = startStopwatch()
    for (let n = 0; n < 5; n++) must(await one.reserve(wants(free)))
    // One after the other, two at a time, those before them would wait for 7.5 s.
    expect(took_ms()).toBeLessThan(2000)
    const answers = await Promise.all(asked)
    expect(new Set(answers.map((answer) => refusal(answer).code))).toEqual(new Set(['overloaded']))
    await other.rollback()
    must(await one.reserve(wants(stuck)))
    expect(await counters(database.db, stuck)).toBe('10/1')
  })

  test('a database that goes away: what waits is answered unknown, what comes is told that nothing was written', async () => {
    const { sku, asking, asked } = await askOfTheDead({ silence_ms: 30, answer_ms_max: 60_000 })
    await asking.cutOff()
    expect(refusal(await asked)).toEqual({ code: 'database_unavailable', outcome: 'unknown' })
    expect(refusal(await asking.reserve(wants(sku)))).toEqual({ code: 'database_unavailable', outcome: 'none' })
  })

  test('a database that answers nothing: what waits is answered in time, though nothing was heard', async () => {
    const { asked } = await askOfTheDead({ lock_timeout_ms: 5000, silence_ms: 300, answer_ms_max: 60_000 })
    // It is asked about, and no answer comes.
    const freezing = await begin(database.db)
    await freezing.raw('LOCK TABLE pgboss.job IN ACCESS EXCLUSIVE MODE')
    const watch = startStopwatch()
    const answer = await asked
    const took_ms = watch()
    await freezing.rollback()
    expect(refusal(answer)).toEqual({ code: 'database_unavailable', outcome: 'unknown' })
    expect(took_ms).toBeLessThan(2000)
  })

  test('processes that open the queue for the first time at the same moment all do', async () => {
    const empty = await createTestDatabase()
    try {
      const processes = await Promise.all([1, 2, 3, 4].map(() => open({ url: empty.url })))
      const sku = await stocked(empty.db)
      for (const one of processes) must(await one.reserve(wants(sku)))
      expect(await counters(empty.db, sku)).toBe('10/4')
    } finally {
      await Promise.all(Array.from(opened, (stop) => stop()))
      await empty.drop()
    }
  })

  test("the queue's own tables change neither what migrations nor what verify have to say", async () => {
    const one = await open()
    must(await one.reserve(wants(await stocked(database.db))))
    expect(await schemaState(database.db)).toEqual({ current: true, pending: [], unknown: [] })
    expect((await verify(database.db)).clean).toBe(true)
  })

  test('a user who may not create its schema: the start ends in words', async () => {
    const empty = await createTestDatabase()
    const role = `clerk_${newId().replaceAll('-', '')}`
    const url = new URL(empty.url)
    const database_name = url.pathname.slice(1)
    try {
      await empty.db.raw(`CREATE ROLE ${role} LOGIN PASSWORD 'clerk'`)
      await empty.db.raw(`GRANT CONNECT ON DATABASE ${database_name} TO ${role}`)
      ;[url.username, url.password] = [role, 'clerk']
      await expect(open({ url: url.href })).rejects.toThrow(
        /^the job queue could not be opened: .*GRANT CREATE ON DATABASE/,
      )
      await expect(open({ url: url.href })).rejects.toBeInstanceOf(CannotStart)
    } finally {
      await Promise.all(Array.from(opened, (stop) => stop()))
      await empty.db.raw(`REVOKE ALL ON DATABASE ${database_name} FROM ${role}`)
      await empty.db.raw(`DROP ROLE ${role}`)
      await empty.drop()
    }
  })
})
