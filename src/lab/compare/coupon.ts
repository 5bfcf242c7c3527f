import { Agent, request } from 'node:http'
import { LeftOut, startContender, type Contender } from './contenders.ts'
import { place, stockLoads, warmUp, type Placed } from './loads.ts'
import { verifiedFor, type Bench } from './measure.ts'
import type { Options } from './options.ts'
import { count, ms, type Report, type Section } from './report.ts'
import { skuName } from '../load/scenario.ts'
import { createScratchTables, fillScratchTables, readStand } from './unsafe.ts'

/** Thirty coupons and forty customers, who ask one right after the other and do not wait: who gets one, and in which order. */

/** A customer's answer: whether a coupon was issued, refused, or neither is known; in the order in which answers came. */
export type Answered = { customer: number; status: number; after_ms: number }

type Issued = {
  name: string
  unsafe: boolean
  answers: Answered[]
  /** By the rows that are there. */
  issued: number
  oversold: number
  verify: string
  clean: boolean
}

const CUSTOMERS = 40
const COUPONS = 30
const TIMEOUT_MS = 10_000

export async function couponSection(
  bench: Bench,
  { contenders, processes }: Options,
): Promise<{ section: Section; left_out: Report['left_out'] }> {
  const load = { label: 'coupons', buyers: CUSTOMERS, skus: 1, stock: COUPONS }
  const [placed] = place([load])
  const found: Issued[] = []
  const left_out: Report['left_out'] = []
  for (const contender of contenders) {
    try {
      found.push(await issueCoupons(bench, contender, placed!))
    } catch (error) {
      if (!(error instanceof LeftOut)) throw error
      left_out.push({ name: contender.name, why: error.message })
    }
  }
  const head = [
    'strategy',
    'issued',
    'refused',
    'neither',
    'first come, first served',
    'last answer, ms',
    'order of completion',
    'verify',
  ]
  const section: Section = {
    title: `${COUPONS} coupons, ${CUSTOMERS} customers: ${processes === 1 ? 'one process' : `${processes} processes`}`,
    tables: [{ title: '', head, rows: found.map((one) => rowOf(one)) }],
    notes: [
      'Customers ask in the order of their numbers. Order of completion: a number got a coupon, (in brackets) refused, [in square ones] told to come again or nothing.',
      'The order of arrival is a promise of batched, within one process.',
    ],
    faults: found.flatMap((one) => faultsOf(one)),
    data: found,
  }
  return { section, left_out }
}

function rowOf({ name, answers, issued, verify }: Issued): string[] {
  const refused = answers.filter(({ status }) => status === 409).length
  return [
    name,
    count(issued),
    count(refused),
    count(CUSTOMERS - refused - answers.filter(({ status }) => status === 201).length),
    fairnessOf(answers, COUPONS),
    ms(Math.max(0, ...answers.map(({ after_ms }) => after_ms))),
    orderOf(answers),
    verify,
  ]
}

function faultsOf({ name, unsafe, oversold, clean, verify }: Issued): string[] {
  if (unsafe) return []
  return [...(oversold > 0 ? [`${name} issued ${oversold} too many`] : []), ...(clean ? [] : [`${name}: ${verify}`])]
}

/** Whether those who asked first got the coupons. */
export function fairnessOf(answers: readonly Answered[], coupons: number): string {
  const empty = answers.filter(({ customer, status }) => customer <= coupons && status !== 201).length
  return empty === 0 ? 'yes' : `no: ${empty} of the first ${coupons} went away empty`
}

/** Customers in the order of their answers; those who follow each other and fared alike as a range. */
export function orderOf(answers: readonly Answered[]): string {
  const runs: { from: number; to: number; status: number }[] = []
  for (const { customer, status } of answers) {
    const run = runs.at(-1)
    if (run !== undefined && run.to + 1 === customer && kindOf(run.status) === kindOf(status)) run.to = customer
    else runs.push({ from: customer, to: customer, status })
  }
  return runs
    .map(({ from, to, status }) => BRACKETS[kindOf(status)](from === to ? `${from}` : `${from}–${to}`))
    .join(' ')
}

function kindOf(status: number): keyof typeof BRACKETS {
  if (status === 201) return 'issued'
  return status === 409 ? 'refused' : 'neither'
}

const BRACKETS = {
  issued: (text: string) => text,
  refused: (text: string) => `(${text})`,
  neither: (text: string) => `[${text}]`,
}

async function issueCoupons(bench: Bench, contender: Contender, load: Placed): Promise<Issued> {
  const { databases, processes, pool_max } = bench
  bench.progress(contender.name)
  const database = await databases.create()
  const closers: (() => Promise<void>)[] = [() => databases.drop(database)]
  try {
    await stockLoads(database.db, [load])
    await createScratchTables(database.db)
    await fillScratchTables(database.db)
    const running = await startContender(bench.ground, contender, { url: database.url, processes, pool_max })
    closers.push(() => running.stop())
    const ports = running.servers.map((server) => server.port)
    await warmUp(bench.drivers, ports, { api_key: databases.api_key, seconds: bench.warmup_seconds })
    const answers = await askInOrder(ports, {
      api_key: databases.api_key,
      customers: CUSTOMERS,
      sku: skuName(load.first),
    })
    await closers.pop()!()
    const tables = 'unsafe' in contender ? contender.tables : 'real'
    const { held, oversold } = await readStand(database.db, tables, load)
    const unsafe = 'unsafe' in contender
    return {
      name: contender.name,
      unsafe,
      answers,
      issued: held,
      oversold,
      ...(await verifiedFor(contender, database.db)),
    }
  } finally {
    for (const close of closers.toReversed()) await close()
  }
}

/**
 * Customers with a connection each send their requests in order, without waiting for each other's answers.
 *
 * @returns their answers in the order in which they came; status 0 for none
 */
export async function askInOrder(
  ports: readonly number[],
  { api_key, customers, sku }: { api_key: string; customers: number; sku: string },
): Promise<Answered[]> {
  const lines = Array.from({ length: customers }, (_, i) => ({
    customer: i + 1,
    port: ports[i % ports.length]!,
    agent: new Agent({ keepAlive: true, maxSockets: 1 }),
  }))
  try {
    // Connections are made before, so that they do not decide who comes first.
    await Promise.all(lines.map(({ port, agent }) => send({ port, agent, method: 'GET', path: '/healthz', api_key })))
    const answers: Answered[] = []
    const started = performance.now()
    await Promise.all(
      lines.map(async ({ customer, port, agent }) => {
        const body = JSON.stringify({ lines: [{ sku, quantity: 1 }], customer_id: `customer ${customer}` })
        const status = await send({
          port,
          agent,
          method: 'POST',
          path: '/v1/reservations',
          api_key,
          body,
          key: `coupon-${customer}`,
        })
        answers.push({ customer, status, after_ms: performance.now() - started })
      }),
    )
    return answers
  } finally {
    for (const { agent } of lines) agent.destroy()
  }
}

type Question = {
  port: number
  agent: Agent
  method: string
  path: string
  api_key: string
  body?: string
  key?: string
}

/** @returns the status; 0 where no answer came */
function send({ port, agent, method, path, api_key, body, key }: Question): Promise<number> {
  const headers: Record<string, string> = { Authorization: `Bearer ${api_key}` }
  if (body !== undefined) headers['Content-Type'] = 'application/json'
  if (body !== undefined) headers['Content-Length'] = String(Buffer.byteLength(body))
  if (key !== undefined) headers['Idempotency-Key'] = key
  return new Promise((resolve) => {
    const asked = request(
      { host: '127.0.0.1', port, agent, method, path, headers, timeout: TIMEOUT_MS },
      (response) => {
        response.resume()
        response.once('end', () => resolve(response.statusCode ?? 0))
        response.once('error', () => resolve(0))
      },
    )
    asked.once('error', () => resolve(0))
    asked.once('timeout', () => asked.destroy())
    asked.end(body)
  })
}
