import { drive, merge, startDrivers } from '../../src/lab/load/drive.ts'
import { Histogram } from '../../src/lab/load/histogram.ts'
import { runLoad, type LoadPlan } from '../../src/lab/load/run.ts'
import { buyersWhoMeet, skuOfBuyer } from '../../src/lab/load/scenario.ts'
import { answering, HELD, response, type Answering } from './answering.ts'

let server: Answering | undefined

afterEach(async () => {
  await server?.close()
  server = undefined
})

function plan(changes: Partial<LoadPlan> = {}): LoadPlan {
  return {
    port: server!.port,
    api_key: 'secret',
    scenario: { kind: 'reserve', skus: 1 },
    connections: 4,
    duration_ms: 2000,
    timeout_ms: 1000,
    ...changes,
  }
}

test('answers are counted by status, and by whether they were right', async () => {
  const answers = [
    response(201, HELD),
    response(503, 'later'),
    response(500, 'broken'),
    response(201, HELD.replace('000001', '000002')),
  ]
  server = await answering((socket, number) => socket.write(answers[number % 4]!))
  const counts = await runLoad(plan({ count_max: 40, tolerate: [503] }))
  expect(counts).toMatchObject({ sent: 40, accepted: 10, tolerated: 10, wrong: 20, errors: {}, unsent: 0 })
  expect(counts.by_status).toEqual({ 201: 20, 500: 10, 503: 10 })
  expect(counts.examples[0]).toMatch(/^(500 broken|201 .*000002)/)
  expect(counts.timeline.reduce((sum, count) => sum + count, 0)).toBe(10)
})

test('each request has a key of its own, and is what it says', async () => {
  server = await answering((socket) => socket.write(response(201, HELD)))
  await runLoad(plan({ count_max: 50 }))
  const keys = server.requests.map((request) => /Idempotency-Key: (\S+)/.exec(request)?.[1])
  expect(new Set(keys).size).toBe(50)
  expect(server.requests[0]).toMatch(/^POST \/v1\/reservations HTTP\/1\.1\r\nHost: 127\.0\.0\.1:\d+\r\n/)
  expect(server.requests[0]).toContain('Authorization: Bearer secret\r\n')
  expect(JSON.parse(server.requests[0]!.split('\r\n\r\n')[1]!)).toEqual({ lines: [{ sku: 'SKU-000001', quantity: 1 }] })
})

test('chunked answers in small packets are answers like others', async () => {
  server = await answering((socket) => {
    socket.setNoDelay(true)
    socket.write('HTTP/1.1 201 Created\r\nTransfer-Enc')
    // One timer sets the next: two that are due together may fire in either order.
    setTimeout(() => {
      socket.write(`oding: chunked\r\n\r\n${HELD.length.toString(16)}\r\n${HELD}`)
      setTimeout(() => socket.write('\r\n0\r\n\r\n'), 2)
    }, 2)
  })
  expect(await runLoad(plan({ count_max: 20, duration_ms: 10_000 }))).toMatchObject({
    accepted: 20,
    wrong: 0,
    errors: {},
  })
})

test('a connection that the server closes after its answer is replaced', async () => {
  server = await answering((socket) => socket.end(response(201, HELD, ['Connection: close'])))
  expect(await runLoad(plan({ count_max: 20, duration_ms: 10_000 }))).toMatchObject({
    sent: 20,
    accepted: 20,
    wrong: 0,
    errors: {},
  })
})

test('a body that ends with its connection is a whole answer', async () => {
  server = await answering((socket) => socket.end(`HTTP/1.1 201 Created\r\n\r\n${HELD}`))
  expect(await runLoad(plan({ count_max: 10 }))).toMatchObject({ accepted: 10, wrong: 0, errors: {} })
})

test('connections that greet have all been answered before the clock starts; greetings are not counted', async () => {
  server = await answering((socket, _, request) =>
    socket.write(request.startsWith('GET /healthz ') ? response(200, '{}') : response(201, HELD)),
  )
  let greeted: string[] = []
  const counts = await runLoad(plan({ count_max: 10, greets: true }), () => {
    greeted = [...server!.requests]
    return Promise.resolve()
  })
  expect(greeted.map((request) => request.split(' ')[1])).toEqual(['/healthz', '/healthz', '/healthz', '/healthz'])
  expect(counts).toMatchObject({ sent: 10, accepted: 10, wrong: 0, by_status: { 201: 10 }, errors: {} })
  expect(server.requests).toHaveLength(14)
})

test('a greeting that is not answered in time is an error, and does not keep the others', async () => {
  server = await answering((socket, number, request) => {
    if (!request.startsWith('GET /healthz ')) socket.write(response(201, HELD))
    else if (number > 0) socket.write(response(200, '{}'))
  })
  const counts = await runLoad(plan({ count_max: 10, greets: true, timeout_ms: 100 }))
  expect(counts).toMatchObject({ sent: 10, accepted: 10, wrong: 0, errors: { timeout: 1 } })
})

test('processes of which one has failed are replaced for the next plan', async () => {
  server = await answering((socket) => socket.write(response(201, HELD)))
  const drivers = await startDrivers(2)
  try {
    // Told of no port at all they end, and say so on stderr.
    await expect(drivers.drive(plan({ port: [] }))).rejects.toThrow('a load driver')
    expect(await drivers.drive(plan({ count_max: 8 }))).toMatchObject({ sent: 8, accepted: 8, wrong: 0, errors: {} })
  } finally {
    drivers.stop()
  }
})

test('processes start together: when each of them has its connections', async () => {
  let greetings = 0
  let greeted = 0
  const greeted_before: number[] = []
  server = await answering((socket, _, request) => {
    if (request.startsWith('GET /healthz ')) {
      const greet = () => ((greeted += 1), socket.write(response(200, '{}')))
      // The last one keeps its process for a while, in which the other one must not begin.
      if (++greetings < 4) greet()
      else setTimeout(greet, 100)
    } else {
      greeted_before.push(greeted)
      socket.write(response(201, HELD))
    }
  })
  const result = await drive(plan({ count_max: 8, greets: true }), 2)
  expect(result).toMatchObject({ sent: 8, accepted: 8, wrong: 0, errors: {} })
  expect(new Set(greeted_before)).toEqual(new Set([4]))
})

test('a connection closed without an answer, and an answer that never comes, are errors', async () => {
  server = await answering((socket, number) => {
    if (number === 0) socket.destroy()
    else if (number === 1) return
    else socket.write(response(201, HELD))
  })
  const counts = await runLoad(plan({ count_max: 10, timeout_ms: 200 }))
  expect(counts).toMatchObject({ sent: 10, accepted: 8, errors: { closed: 1, timeout: 1 } })
})

test('a reserve and its confirm go over one connection, in that order', async () => {
  const id = '019a0000-0000-7000-8000-000000000001'
  server = await answering((socket, _, request) => {
    const confirms = request.startsWith(`POST /v1/reservations/${id}/confirm `)
    socket.write(
      confirms ? response(200, `{"id":"${id}","status":"confirmed"}`) : response(201, `{"id":"${id}",${HELD.slice(1)}`),
    )
  })
  const counts = await runLoad(plan({ connections: 1, count_max: 10, scenario: { kind: 'pair', skus: 1 } }))
  expect(counts).toMatchObject({ accepted: 10, wrong: 0, by_status: { 200: 5, 201: 5 } })
})

test('a batch is right only if every item was held', async () => {
  const item = '{"status":201,"reservation":{}}'
  const results = [`{"results":[${item},${item}]}`, `{"results":[${item},{"status":409}]}`]
  server = await answering((socket, number) => socket.write(response(200, results[number % 2]!)))
  const scenario = { kind: 'batch' as const, skus: 1, size: 2 }
  expect(await runLoad(plan({ connections: 1, count_max: 4, scenario }))).toMatchObject({ accepted: 2, wrong: 2 })
})

test('where 503 is put up with, a batch may have items that were too late, and none that were refused otherwise', async () => {
  const held = '{"status":201,"reservation":{}}'
  const refused = (status: number, code: string) =>
    `{"status":${status},"error":{"type":"t","status":${status},"code":"${code}"}}`
  const [busy, short] = [refused(503, 'overloaded'), refused(409, 'insufficient_stock')]
  const items = [`${held},${busy}`, `${held},${short}`, held, `${busy},${refused(503, 'database_unavailable')}`]
  server = await answering((socket, n) => socket.write(response(200, `{"results":[${items[n % items.length]}]}`)))
  const asked = plan({ connections: 1, count_max: 8, scenario: { kind: 'batch', skus: 1, size: 2 } })
  expect(await runLoad({ ...asked, tolerate: [503] })).toMatchObject({ accepted: 0, tolerated: 2, wrong: 6 })
  expect(await runLoad(asked)).toMatchObject({ accepted: 0, wrong: 8 })
})

test('a closed loop times a request from when it was sent', async () => {
  server = await answering((socket) => setTimeout(() => socket.write(response(201, HELD)), 50))
  const { latency } = merge([await runLoad(plan({ connections: 2, count_max: 8 }))])
  expect(latency.p50_us).toBeGreaterThan(45_000)
  expect(latency.p50_us).toBeLessThan(150_000)
})

test('an open loop times a request from when it was due, though it waited for a connection', async () => {
  // Each answer takes 50 ms, and one connection is there for a request every 10 ms: the tenth is sent 350 ms late.
  server = await answering((socket) => setTimeout(() => socket.write(response(201, HELD)), 50))
  const { latency, sent } = merge([
    await runLoad(plan({ connections: 1, rate: 100, duration_ms: 100, timeout_ms: 3000 })),
  ])
  expect(sent).toBe(10)
  expect(latency.max_us).toBeGreaterThan(380_000)
  expect(latency.p50_us).toBeGreaterThan(180_000)
})

test('an open loop sends at its rate although answers are slow, and opens connections for that', async () => {
  server = await answering((socket) => setTimeout(() => socket.write(response(201, HELD)), 300))
  const counts = await runLoad(plan({ connections: 500, rate: 1000, duration_ms: 300 }))
  expect(counts).toMatchObject({ sent: 300, accepted: 300, unsent: 0 })
  expect(counts.ended_at - counts.started_at).toBeLessThan(2000)
})

test('of numbered buyers each asks once, whichever process and server that falls to, and a refusal is an answer that is timed', async () => {
  const refused = (sku: string) => `{"code":"insufficient_stock","shortages":[{"sku":"${sku}","requested":1}]}`
  const answer: Parameters<typeof answering>[0] = (socket, _, request) => {
    const sku = /"sku":"([^"]+)"/.exec(request)![1]!
    const held = sku === 'SKU-000001'
    socket.write(held ? response(201, HELD) : response(409, refused(sku)))
  }
  server = await answering(answer)
  const second = await answering(answer)
  try {
    const scenario = { kind: 'buyers' as const, count: 40, skus: 40 }
    const result = await drive(
      plan({
        port: [server.port, second.port],
        scenario,
        connections: 40,
        count_max: 40,
        tolerate: [409],
        timed: 'answered',
      }),
      2,
    )
    expect(result).toMatchObject({ sent: 40, accepted: 1, tolerated: 39, wrong: 0, errors: {} })
    expect(result.latency.count).toBe(40)
    const requests = [...server.requests, ...second.requests]
    expect(new Set(requests.map((request) => /SKU-\d+/.exec(request)?.[0])).size).toBe(40)
    expect([server.requests.length, second.requests.length]).toEqual([20, 20])
  } finally {
    await second.close()
  }
})

test('a refusal for another reason, or of another SKU, is no right answer to a buyer', async () => {
  const bodies = [
    '{"code":"idempotency_key_in_use"}',
    '{"code":"insufficient_stock","shortages":[{"sku":"SKU-000009"}]}',
  ]
  server = await answering((socket, number) => socket.write(response(409, bodies[number % 2]!)))
  const scenario = { kind: 'buyers' as const, count: 4, skus: 1 }
  expect(await runLoad(plan({ scenario, count_max: 4, tolerate: [409] }))).toMatchObject({ accepted: 0, wrong: 4 })
})

test('the last answer is told apart from waiting for one that never comes', async () => {
  server = await answering((socket, number) => void (number === 0 || socket.write(response(201, HELD))))
  const result = merge([await runLoad(plan({ count_max: 4, timeout_ms: 400 }))])
  expect(result.errors).toEqual({ timeout: 1 })
  expect(result.elapsed_ms).toBeGreaterThan(400)
  expect(result.last_answer_ms).toBeLessThan(300)
})

test.each([
  [100, 5, 5],
  [1000, 1, 10],
  [1000, 20, 200],
  [50, 1, 1],
  [7, 100, 7],
])('of %i buyers %i per cent meet: %i want one SKU, all others one of their own', (count, meet_percent, met) => {
  const wanted = Array.from({ length: count }, (_, n) =>
    skuOfBuyer({ kind: 'buyers', count, skus: 1, meet_percent }, n),
  )
  const those = wanted.filter((sku) => sku === 'SKU-000001')
  expect(those).toHaveLength(met)
  expect(buyersWhoMeet(count, meet_percent)).toBe(met)
  expect(new Set(wanted).size).toBe(count - met + 1)
})

test('those who meet stand evenly among the others', () => {
  const buyers = { kind: 'buyers' as const, count: 100, skus: 1, meet_percent: 5 }
  const places = Array.from({ length: 100 }, (_, n) => n).filter((n) => skuOfBuyer(buyers, n) === 'SKU-000001')
  expect(places).toEqual([0, 20, 40, 60, 80])
})

test('latencies are counted apart for what is due before and after a cut', async () => {
  server = await answering((socket, number) =>
    setTimeout(() => socket.write(response(201, HELD)), number < 10 ? 0 : 200),
  )
  const cuts = [Date.now() - 1000, Date.now() + 150]
  const load = plan({ connections: 50, rate: 100, duration_ms: 400, cuts, timeout_ms: 3000 })
  const { latencies, latency } = merge([await runLoad(load), await runLoad({ ...load, cuts: [0, 1] })])
  expect(latencies[0]!.count).toBe(0)
  expect(latencies[1]!.count + latencies[2]!.count).toBe(80)
  expect(latencies[1]!.count).toBeGreaterThan(0)
  expect(latencies[1]!.count).toBeLessThan(40)
  expect(latency.count).toBe(80)
})

test('what two processes saw is put together', async () => {
  server = await answering((socket) => socket.write(response(201, HELD)))
  const result = await drive(plan({ count_max: 100 }), 2)
  expect(result).toMatchObject({ sent: 100, accepted: 100, wrong: 0, errors: {} })
  expect(result.latency.count).toBe(100)
  expect(result.elapsed_ms).toBeGreaterThan(0)
  expect(server.requests).toHaveLength(100)
})

test('a percentile is right to one per cent, also of two histograms together', () => {
  const [even, odd] = [new Histogram(), new Histogram()]
  for (let us = 1; us <= 100_000; us++) (us % 2 === 0 ? even : odd).record(us)
  even.add(odd.pack())
  for (const fraction of [0.01, 0.5, 0.9, 0.99, 0.999]) {
    expect(Math.abs(even.percentile(fraction) / (fraction * 100_000) - 1)).toBeLessThan(0.01)
  }
  expect(even.summary()).toMatchObject({ count: 100_000, max_us: 100_000 })
  expect(new Histogram().summary().p99_us).toBe(0)
})

test('a duration beyond two minutes counts as that', () => {
  const histogram = new Histogram()
  histogram.record(1e12)
  expect(histogram.summary().max_us).toBe(2 ** 27 - 1)
})
