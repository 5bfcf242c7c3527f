/** What the service on this machine says about itself. */
export type ServiceState = {
  url: string
  answers: boolean
  error?: string
  ready?: boolean
  /** What works less well than it should, such as `sweeper`. */
  degraded?: string[]
  queue?: { length: number; length_max: number; oldest_wait_seconds: number }
}

const TIMEOUT_MS = 1000

/** Asks /readyz and /metrics, which need no key on loopback. */
export async function askService(url: string): Promise<ServiceState> {
  try {
    const [ready, metrics] = await Promise.all([get(`${url}/readyz`), get(`${url}/metrics`)])
    const readiness = parseReadiness(ready.body)
    const queue = metrics.status === 200 ? readQueue(metrics.body) : undefined
    return {
      url,
      answers: true,
      ready: ready.status === 200 && readiness !== undefined,
      ...(readiness?.degraded && { degraded: readiness.degraded }),
      ...(queue && { queue }),
    }
  } catch (error) {
    const { name, message, cause } = error as Error
    const why = name === 'TimeoutError' ? `no answer within ${TIMEOUT_MS} ms` : ((cause as Error)?.message ?? message)
    return { url, answers: false, error: why || (cause as NodeJS.ErrnoException)?.code || name }
  }
}

/** Where a service with these settings is reached from its own machine. */
export function serviceUrl({ host, port }: { host: string; port: number }): string {
  const reached = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host
  return `http://${reached.includes(':') ? `[${reached}]` : reached}:${port}`
}

async function get(url: string): Promise<{ status: number; body: string }> {
  const response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS), redirect: 'error' })
  return { status: response.status, body: await response.text() }
}

/** Undefined for what is not ours: something else may listen at the port. */
function parseReadiness(body: string): { degraded?: string[] } | undefined {
  try {
    return JSON.parse(body) as { degraded?: string[] }
  } catch {
    return undefined
  }
}

function readQueue(exposition: string): ServiceState['queue'] {
  const length = gauge(exposition, 'stock_queue_length')
  const length_max = gauge(exposition, 'stock_queue_length_max')
  const oldest_wait_seconds = gauge(exposition, 'stock_queue_oldest_wait_seconds')
  if (length === undefined || length_max === undefined || oldest_wait_seconds === undefined) return undefined
  return { length, length_max, oldest_wait_seconds }
}

function gauge(exposition: string, name: string): number | undefined {
  const sample = exposition.split('\n').find((line) => line.startsWith(`${name} `))
  return sample === undefined ? undefined : Number(sample.slice(name.length + 1))
}
