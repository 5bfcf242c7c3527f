import { useSignal } from '@preact/signals'
import { words } from '../language.ts'
import { Button } from '../parts/button.tsx'
import { ProblemNotice } from '../parts/notice.tsx'
import { say as announce } from '../parts/toasts.tsx'
import type { Coupon } from '../shapes.ts'
import type { ProblemFacts } from '../words.ts'
import { coupons, getCoupon } from './carts.ts'
import { cash } from './session.ts'

/** What a coupon takes off, as the service reckons it. */
export function discountOf({ discount_percent, discount_amount }: Coupon, subtotal: number): number {
  return discount_percent === null
    ? Math.min(discount_amount ?? 0, subtotal)
    : Math.floor((subtotal * discount_percent) / 100)
}

type CouponsProps = { chosen: string | undefined; onChoose: (code: string | undefined) => void }

/** Gets coupons by their code, and chooses one of those that one has. */
export function Coupons({ chosen, onChoose }: CouponsProps) {
  const { cart: say, moment } = words.value
  const code = useSignal('')
  const busy = useSignal(false)
  const problem = useSignal<ProblemFacts | undefined>(undefined)
  const get = async () => {
    const wanted = code.value.trim()
    if (wanted === '') return
    busy.value = true
    const answer = await getCoupon(wanted)
    busy.value = false
    // Who has it already has got what they asked for.
    const has_it = coupons.value.some((one) => one.code === wanted && one.state === 'issued')
    problem.value = answer.ok || has_it ? undefined : answer.problem
    if (!has_it) return
    code.value = ''
    onChoose(wanted)
    if (answer.ok) announce(say.couponGot(wanted, answer.value.number))
  }
  return (
    <div class="stack">
      <Choices chosen={chosen} onChoose={onChoose} />
      <form
        class="inline-form"
        onSubmit={(event) => {
          event.preventDefault()
          void get()
        }}
      >
        <label class="field">
          <span class="label">{say.couponCode}</span>
          <input
            class="input"
            autocomplete="off"
            spellcheck={false}
            maxLength={64}
            value={code.value}
            onInput={(event) => (code.value = event.currentTarget.value)}
          />
        </label>
        <Button submit off={busy.value}>
          {busy.value ? moment : say.couponGet}
        </Button>
      </form>
      <ProblemNotice problem={problem.value} />
    </div>
  )
}

function Choices({ chosen, onChoose }: CouponsProps) {
  const { cart: say } = words.value
  const usable = coupons.value.filter(({ state }) => state === 'issued')
  if (usable.length === 0) return null
  return (
    <fieldset class="stack">
      <legend class="label">{say.coupon}</legend>
      <div class="choices">
        {[undefined, ...usable].map((coupon) => (
          <label class="choice" key={coupon?.code ?? ''}>
            <input
              type="radio"
              name="coupon"
              checked={coupon?.code === chosen}
              onChange={() => onChoose(coupon?.code)}
            />
            <span>{coupon === undefined ? say.couponNone : `${coupon.code}: ${offOf(coupon)}`}</span>
          </label>
        ))}
      </div>
    </fieldset>
  )
}

function offOf({ discount_percent, discount_amount }: Coupon): string {
  return words.value.cart.off(discount_percent === null ? cash(discount_amount ?? 0) : `${discount_percent} %`)
}
