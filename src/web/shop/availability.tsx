import { count } from '../format.ts'
import { language, words } from '../language.ts'

/** So few are worth a word. */
const FEW = 5

/** What is left of a SKU, on one line whatever it says. */
export function Availability({ units }: { units: number | undefined }) {
  const { shop } = words.value
  if (units === undefined) {
    return (
      <p class="availability bad">
        <span class="dot" />
        {shop.noSuchCombination}
      </p>
    )
  }
  const [tone, text] =
    units === 0
      ? ['bad', shop.soldOut]
      : units <= FEW
        ? ['warn', shop.last(units)]
        : ['', shop.available(count(units, language.value))]
  return (
    <p class={`availability number ${tone}`}>
      <span class="dot" />
      {text}
    </p>
  )
}
