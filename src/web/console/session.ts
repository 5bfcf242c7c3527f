import { signal } from '@preact/signals'
import { askPage, createApi, whenSessionEnds, type Answer } from '../api.ts'
import { synchronise } from '../clock.ts'
import type { ConsoleSession } from '../shapes.ts'
import type { ProblemFacts } from '../words.ts'

/** Who runs the console. */

export const api = createApi('console')

/** Undefined before it is known. */
export const session = signal<ConsoleSession | undefined>(undefined)
export const session_problem = signal<ProblemFacts | undefined>(undefined)

/** Whether the console may be seen: with a session, or while the service is open to this machine. */
export function mayEnter({ open, client }: ConsoleSession): boolean {
  return open || client !== null
}

export async function readSession(): Promise<void> {
  const asked = performance.now()
  const answer = await askPage<ConsoleSession>('GET', '/console/session')
  if (answer.ok) {
    synchronise(answer.value.now, asked, performance.now())
    session.value = answer.value
  }
  session_problem.value = answer.ok ? undefined : answer.problem
}

/** Exchanges a key for a session; the key is not kept. */
export async function enter(key: string): Promise<Answer<undefined>> {
  const answer = await askPage<undefined>('POST', '/console/session', { headers: { Authorization: `Bearer ${key}` } })
  if (answer.ok) await readSession()
  return answer
}

export async function leave(): Promise<void> {
  await askPage('DELETE', '/console/session')
  await readSession()
}

whenSessionEnds(() => void readSession())
