import { bulkhead, circuitBreaker, ConsecutiveBreaker, handleAll, timeout, TimeoutStrategy, wrap } from 'cockatiel'
import { GatewayUnavailable, type Gateway } from './gateway.ts'

/** A gateway that hangs must not keep buyers hanging, and one that is down must not be asked a thousand times a second. */

const TIMEOUT_MS = 12_000
const AT_ONCE_MAX = 20
const WAITING_MAX = 200
const FAILURES_TO_OPEN = 10
const OPEN_MS = 5000

/** The same gateway behind a time limit, a limit of calls at once and a circuit breaker. */
export function guardGateway(gateway: Gateway): Gateway {
  const policy = wrap(
    bulkhead(AT_ONCE_MAX, WAITING_MAX),
    circuitBreaker(handleAll, { halfOpenAfter: OPEN_MS, breaker: new ConsecutiveBreaker(FAILURES_TO_OPEN) }),
    timeout(TIMEOUT_MS, TimeoutStrategy.Aggressive),
  )
  const guarded = async <T>(call: () => Promise<T>): Promise<T> => {
    try {
      return await policy.execute(call)
    } catch (error) {
      throw error instanceof GatewayUnavailable ? error : new GatewayUnavailable(error)
    }
  }
  return {
    name: gateway.name,
    authorise: (payment) => guarded(() => gateway.authorise(payment)),
    look: (payment) => guarded(() => gateway.look(payment)),
    capture: (payment) => guarded(() => gateway.capture(payment)),
    void: (payment) => guarded(() => gateway.void(payment)),
    refund: (payment, refund) => guarded(() => gateway.refund(payment, refund)),
    readWebhook: (request) => gateway.readWebhook(request),
  }
}
