import { compose } from '../../../compose.ts'
import { loadConfig } from '../../../config.ts'
import { createLog } from '../../../log.ts'
import type { Reservation } from '../../../reservations/reservation.ts'

/**
 * The whole service, but for one thing: reserve answers at once, always the same. Middleware, authentication, parsing,
 * validation, logging, metrics and the answer's JSON are the service's own.
 */

const config = loadConfig()
const log = createLog(config.log_level)
const service = compose({ config, url: config.database_url!, log, instance: `constant ${process.pid}` })

const reservation: Reservation = {
  id: '019a0000-0000-7000-8000-000000000000',
  status: 'pending',
  lines: [{ sku: 'SKU-000001', quantity: 1 }],
  customer_id: null,
  reference: null,
  metadata: null,
  created_at: new Date(1767225600000),
  expires_at: new Date(1767227400000),
  closed_at: null,
  release_reason: null,
  strategy: 'batched',
  ttl_variant: null,
}
// The routes call through this object, so that they meet this function in the place of the core's.
service.reservations.reserve = () => Promise.resolve({ ok: true, value: { reservation, replayed: false } })

service.server.listen(config.port, config.host)

// The processor profile that --profile asks for is written by an orderly end only.
process.once('SIGTERM', () => process.exit(0))
