import { words } from '../language.ts'

type StepperProps = { value: number; max: number; of: string; onChange: (value: number) => void }

/** A number that goes up and down by one, never below one. */
export function Stepper({ value, max, of, onChange }: StepperProps) {
  const { cart, shop } = words.value
  const step = (to: number) => {
    if (to >= 1 && to <= max) onChange(to)
  }
  return (
    <div class="stepper" role="group" aria-label={`${shop.quantity}, ${of}`}>
      <button
        type="button"
        aria-label={cart.fewer}
        aria-disabled={value <= 1 ? 'true' : undefined}
        onClick={() => step(value - 1)}
      >
        −
      </button>
      <output class="number" aria-live="polite">
        {value}
      </output>
      <button
        type="button"
        aria-label={cart.more}
        aria-disabled={value >= max ? 'true' : undefined}
        onClick={() => step(value + 1)}
      >
        +
      </button>
    </div>
  )
}
