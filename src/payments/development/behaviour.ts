/**
 * How the development gateway behaves with a payment, so that everything that goes wrong with real ones can be had at will.
 * The buyer's page sets it, and so do tests.
 */
export type Behaviour = {
  /** Milliseconds that each webhook is late; past the hold's end a success is a late one. */
  webhook_delay_ms: number
  /** How often each webhook is sent; 0: never. */
  webhook_copies: number
  /** The later webhook of a pair is sent first. */
  webhooks_reversed: boolean
  /** Takes the money when the buyer approves, without waiting for the shop. */
  captures_itself: boolean
  /** `answer_lost`: it is done, and the shop does not hear of it; the next try is answered. */
  capture: 'done' | 'refused' | 'answer_lost'
  refund: 'done' | 'refused' | 'answer_lost'
}

export const BEHAVES: Behaviour = {
  webhook_delay_ms: 0,
  webhook_copies: 1,
  webhooks_reversed: false,
  captures_itself: false,
  capture: 'done',
  refund: 'done',
}

/** How much later the first of a reversed pair arrives. */
export const REVERSED_MS = 1000

const DELAY_MS_MAX = 86_400_000
const COPIES_MAX = 10

/** Reads behaviour from a form, leaving out what is not given; what is out of bounds is brought within. */
export function readBehaviour(form: URLSearchParams): Partial<Behaviour> {
  const number = (name: string, max: number) => {
    const value = Number(form.get(name) ?? Number.NaN)
    return Number.isFinite(value) ? { [name]: Math.min(max, Math.max(0, Math.trunc(value))) } : {}
  }
  const flag = (name: string) => (form.has(name) ? { [name]: form.get(name) === 'true' } : {})
  const choice = (name: string, choices: readonly string[]) => {
    const value = form.get(name)
    return value !== null && choices.includes(value) ? { [name]: value } : {}
  }
  const answers = ['done', 'refused', 'answer_lost']
  return {
    ...number('webhook_delay_ms', DELAY_MS_MAX),
    ...number('webhook_copies', COPIES_MAX),
    ...flag('webhooks_reversed'),
    ...flag('captures_itself'),
    ...choice('capture', answers),
    ...choice('refund', answers),
  }
}
