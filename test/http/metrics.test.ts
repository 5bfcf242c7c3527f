import { createMetrics, legacyOf, sumOf, textOf } from '../../src/metrics.ts'
import { createTallies } from '../../src/tallies.ts'

test('a tally forgets after a minute, its total never', () => {
  let now_ms = 0
  const tallies = createTallies(['code'], () => now_ms)
  tallies.add(2, 'ok')
  now_ms = 30_000
  tallies.add(1, 'ok')
  tallies.add(1, 'refused')
  now_ms = 59_999
  expect(rates()).toEqual({ ok: 3, refused: 1 })
  now_ms = 60_000
  expect(rates()).toEqual({ ok: 1, refused: 1 })
  now_ms = 90_000
  expect(rates()).toEqual({})
  now_ms = 120_000
  tallies.add(5, 'ok')
  expect(rates()).toEqual({ ok: 5 })
  expect(tallies.all()).toEqual([
    { labels: { code: 'ok' }, count: 8 },
    { labels: { code: 'refused' }, count: 1 },
  ])

  function rates() {
    return Object.fromEntries(tallies.lastMinute().map(({ labels, last_minute }) => [labels.code, last_minute]))
  }
})

test('what is observed is exposed', async () => {
  const metrics = createMetrics({ process_metrics: false })
  metrics.meter('GET', '/v1/stock/{sku}')(200, 3)
  metrics.outcome('reserve', 'ok', 'batched', 3)
  metrics.outcome('reserve', 'insufficient_stock', 'batched')
  metrics.batch(40)
  metrics.phase('commit', 2)
  metrics.swept({ expired: 7, set_aside: 1, duration_ms: 10 })
  metrics.sweepFailed()
  metrics.watchQueue(() => ({ length: 4, length_max: 100, oldest_wait_ms: 250 }))
  const acquired = metrics.watchPool('core', () => ({ used: 1, free: 2, pending: 3 }))
  for (const in_use of [1, 2, 2]) acquired(in_use)
  metrics.watchExpiry(() => Promise.resolve({ overdue: 5, oldest_overdue_seconds: 1.5, set_aside: 2 }))
  const lines = (await metrics.text()).split('\n')
  expect(lines).toEqual(
    expect.arrayContaining([
      'stock_http_requests_total{method="GET",route="/v1/stock/{sku}",status="200"} 1',
      'stock_http_request_duration_seconds_bucket{le="0.005",method="GET",route="/v1/stock/{sku}"} 1',
      'stock_outcomes_total{verb="reserve",code="ok",strategy="batched"} 3',
      'stock_outcomes_total{verb="reserve",code="insufficient_stock",strategy="batched"} 1',
      'stock_batch_size_bucket{le="50"} 1',
      'stock_batch_phase_duration_seconds_sum{phase="commit"} 0.002',
      'stock_expiry_expired_total 7',
      'stock_expiry_set_aside_total 1',
      'stock_expiry_runs_total{result="failed"} 1',
      'stock_queue_length 4',
      'stock_queue_length_max 100',
      'stock_queue_oldest_wait_seconds 0.25',
      'stock_pool_connections{pool="core",state="pending"} 3',
      'stock_pool_acquired_total{pool="core",in_use="2"} 2',
      'stock_expiry_backlog 5',
      'stock_expiry_oldest_overdue_seconds 1.5',
      'stock_expiry_set_aside 2',
    ]),
  )
  expect(metrics.rates()).toEqual([
    { labels: { verb: 'reserve', code: 'ok', strategy: 'batched', variant: '' }, last_minute: 3 },
    { labels: { verb: 'reserve', code: 'insufficient_stock', strategy: 'batched', variant: '' }, last_minute: 1 },
  ])
})

test('while the database is away the expiry gauges keep what they had, and the rest is still exposed', async () => {
  const metrics = createMetrics({ process_metrics: false })
  const answers = [() => Promise.resolve({ overdue: 5, oldest_overdue_seconds: 1, set_aside: 0 })]
  metrics.watchExpiry(() => (answers.pop() ?? (() => Promise.reject(new Error('away'))))())
  expect(await metrics.text()).toContain('stock_expiry_backlog 5')
  expect(await metrics.text()).toContain('stock_expiry_backlog 5')
})

test('processes on one port are shown as one: what each has is added, what all see is not', async () => {
  const snapshots = await Promise.all([1, 2].map((n) => processMetrics(n).snapshot()))
  const lines = (await textOf(await sumOf(snapshots))).split('\n')
  expect(lines).toEqual(
    expect.arrayContaining([
      'stock_http_requests_total{method="GET",route="/v1/stock/{sku}",status="200"} 2',
      'stock_http_request_duration_seconds_count{method="GET",route="/v1/stock/{sku}"} 2',
      'stock_outcomes_total{verb="reserve",code="ok",strategy="batched"} 3',
      'stock_queue_length 3',
      'stock_queue_length_max 200',
      'stock_queue_oldest_wait_seconds 0.2',
      'stock_pool_connections{pool="core",state="used"} 3',
      'stock_expiry_backlog 5',
    ]),
  )
})

test('of a process that ended only its counts are left', async () => {
  const [dead, living] = await Promise.all([1, 2].map((n) => processMetrics(n).snapshot()))
  const lines = (await textOf(await sumOf([legacyOf(dead!), living!]))).split('\n')
  expect(lines).toEqual(
    expect.arrayContaining([
      'stock_outcomes_total{verb="reserve",code="ok",strategy="batched"} 3',
      'stock_http_request_duration_seconds_count{method="GET",route="/v1/stock/{sku}"} 2',
      'stock_queue_length 2',
      'stock_pool_connections{pool="core",state="used"} 2',
    ]),
  )
})

/** What a process shows that has so much of everything, beside a database with five overdue holds. */
function processMetrics(n: number) {
  const metrics = createMetrics({ process_metrics: false })
  metrics.meter('GET', '/v1/stock/{sku}')(200, 3)
  metrics.outcome('reserve', 'ok', 'batched', n)
  metrics.watchQueue(() => ({ length: n, length_max: 100, oldest_wait_ms: n * 100 }))
  metrics.watchPool('core', () => ({ used: n, free: 0, pending: 0 }))
  metrics.watchExpiry(() => Promise.resolve({ overdue: 5, oldest_overdue_seconds: 1.5, set_aside: 2 }))
  return metrics
}
