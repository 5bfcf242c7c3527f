import type { Line } from '../../src/reservations/reservation.ts'
import { sumLines } from '../../src/reservations/reservation.ts'

/**
 * What the service promises, as short as it can be said. It knows no sweep, no queue and no database: a hold whose time is
 * over holds nothing, whoever has noticed. Time is a number of seconds that a test moves.
 */

export type Request =
  | { verb: 'reserve'; lines: Line[]; ttl_seconds: number; key?: string }
  | { verb: 'confirm'; hold: number; reacquire: boolean }
  | { verb: 'release'; hold: number }
  | { verb: 'extend'; hold: number; ttl_seconds: number }

/** `hold` is the number of a hold, in the order in which they were made. */
export type Answer =
  | { hold: number; status: string; replayed: boolean }
  | { refused: string; shortages?: { sku: string; requested: number; available: number }[] }

export type Hold = {
  lines: Line[]
  state: 'open' | 'confirmed' | 'released' | 'expired'
  created_at: number
  expires_at: number
  /** What happened to it, in the words of the ledger; an expiry nobody has noticed yet is not among them. */
  history: string[]
  key?: string
  body: string
}

export class Model {
  now = 0
  readonly holds: Hold[] = []
  readonly stock = new Map<string, number>()
  readonly ttl_max_seconds: number

  constructor(skus: readonly string[], ttl_max_seconds: number) {
    for (const sku of skus) this.stock.set(sku, 0)
    this.ttl_max_seconds = ttl_max_seconds
  }

  /** Units of a SKU in holds that are open: those that last, or those whose time is over. */
  held(sku: string, which: 'lasting' | 'overdue'): number {
    return this.holds
      .filter((hold) => hold.state === 'open' && (which === 'overdue') === this.isOver(hold))
      .flatMap((hold) => hold.lines)
      .reduce((sum, line) => (line.sku === sku ? sum + line.quantity : sum), 0)
  }

  statusOf(hold: Hold): string {
    if (hold.state !== 'open') return hold.state
    return this.isOver(hold) ? 'expired' : 'pending'
  }

  /** What the sweeper makes of it: the same, only noticed. */
  sweep(): void {
    for (const hold of this.holds) if (hold.state === 'open' && this.isOver(hold)) end(hold, 'expired', 'expire')
  }

  answer(request: Request): Answer {
    if (request.verb === 'reserve') return this.#reserve(request)
    const hold = this.holds[request.hold]
    if (hold === undefined) return { refused: 'reservation_not_found' }
    if (request.verb === 'confirm') return this.#confirm(hold, request.reacquire)
    if (request.verb === 'release') return this.#release(hold)
    return this.#extend(hold, request.ttl_seconds)
  }

  isOver(hold: Hold): boolean {
    return hold.expires_at <= this.now
  }

  #reserve({ lines: asked, ttl_seconds, key }: Extract<Request, { verb: 'reserve' }>): Answer {
    const body = bodyOf(asked, ttl_seconds)
    const earlier = key === undefined ? undefined : this.holds.find((hold) => hold.key === key)
    if (earlier !== undefined) {
      return earlier.body === body ? this.#tell(earlier, true) : { refused: 'idempotency_key_reused' }
    }
    const lines = sumLines(asked)
    const missing = this.#missing(lines)
    if (missing !== undefined) return missing
    const hold: Hold = {
      lines,
      state: 'open',
      created_at: this.now,
      expires_at: this.now + ttl_seconds,
      history: ['reserve'],
      body,
      ...(key === undefined ? {} : { key }),
    }
    this.holds.push(hold)
    return this.#tell(hold)
  }

  #confirm(hold: Hold, reacquire: boolean): Answer {
    const status = this.statusOf(hold)
    if (status === 'confirmed') return this.#tell(hold)
    if (status === 'released') return { refused: 'already_released' }
    if (status === 'expired') {
      if (!reacquire) return { refused: 'reservation_expired' }
      const missing = this.#missing(hold.lines)
      if (missing !== undefined) return missing
      if (hold.state === 'open') hold.history.push('expire')
      hold.history.push('reserve')
    }
    end(hold, 'confirmed', 'confirm')
    for (const { sku, quantity } of hold.lines) this.stock.set(sku, (this.stock.get(sku) ?? 0) - quantity)
    return this.#tell(hold)
  }

  #release(hold: Hold): Answer {
    if (hold.state === 'confirmed') return { refused: 'already_confirmed' }
    if (hold.state === 'open') {
      if (this.isOver(hold)) end(hold, 'expired', 'expire')
      else end(hold, 'released', 'release')
    }
    return this.#tell(hold)
  }

  #extend(hold: Hold, ttl_seconds: number): Answer {
    const status = this.statusOf(hold)
    if (status === 'confirmed' || status === 'released') return { refused: `already_${status}` }
    if (status === 'expired') return { refused: 'reservation_expired' }
    if (this.now + ttl_seconds > hold.created_at + this.ttl_max_seconds) return { refused: 'extension_limit' }
    hold.expires_at = this.now + ttl_seconds
    return this.#tell(hold)
  }

  #missing(lines: readonly Line[]): Answer | undefined {
    if (lines.some((line) => !this.stock.has(line.sku))) return { refused: 'skus_not_found' }
    const shortages = lines
      .map(({ sku, quantity }) => ({ sku, requested: quantity, available: this.#available(sku) }))
      .filter(({ requested, available }) => available < requested)
    return shortages.length > 0 ? { refused: 'insufficient_stock', shortages } : undefined
  }

  #available(sku: string): number {
    return (this.stock.get(sku) ?? 0) - this.held(sku, 'lasting')
  }

  #tell(hold: Hold, replayed = false): Answer {
    return { hold: this.holds.indexOf(hold), status: this.statusOf(hold), replayed }
  }
}

/** What two requests under one key must have in common. */
export function bodyOf(lines: readonly Line[], ttl_seconds: number): string {
  return JSON.stringify([lines, ttl_seconds])
}

function end(hold: Hold, state: Hold['state'], kind: string): void {
  hold.state = state
  hold.history.push(kind)
}
