import { useSignal } from '@preact/signals'
import { words } from '../language.ts'
import { Button } from '../parts/button.tsx'
import { ProblemNotice } from '../parts/notice.tsx'
import { say } from '../parts/toasts.tsx'
import type { Product, ProductSku } from '../shapes.ts'
import type { ProblemFacts } from '../words.ts'
import { Availability } from './availability.tsx'
import { addToCart } from './carts.ts'
import { availableOf, has_more, nameOf, news, popular, products, products_problem, readProducts } from './catalogue.ts'
import { asCustomer, cash } from './session.ts'
import { Stepper } from './stepper.tsx'

/** Cards that are shown before there are products. */
const BONES = 6
/** Of one thing at once. */
const QUANTITY_MAX = 10

/** All that is sold. */
export function Products() {
  const { shop } = words.value
  const all = products.value
  return (
    <>
      <div class="lead">
        <h1 tabIndex={-1}>{shop.products}</h1>
        <p class="soft">{shop.lead}</p>
      </div>
      <ProblemNotice problem={products_problem.value} onRetry={() => void readProducts()} />
      <p class="unseen" aria-live="polite">
        {news.value}
      </p>
      {all === undefined ? (
        products_problem.value === undefined && <Bones />
      ) : all.length === 0 ? (
        <div class="panel">
          <p>{shop.none}</p>
          <p class="soft">{shop.noneNext}</p>
        </div>
      ) : (
        <ul class="products">
          {all.map((product) => (
            <ProductCard key={product.id} product={product} />
          ))}
        </ul>
      )}
      {has_more.value ? (
        <div class="row">
          <Button onPress={() => void readProducts()}>{shop.more}</Button>
        </div>
      ) : null}
    </>
  )
}

function Bones() {
  return (
    <div class="products" role="img" aria-label={words.value.loading}>
      {Array.from({ length: BONES }, (_, i) => (
        <div key={i} class="bone" style={{ height: '27rem' }} />
      ))}
    </div>
  )
}

function ProductCard({ product }: { product: Product }) {
  const { shop } = words.value
  const first = product.skus.find((one) => one.available > 0) ?? product.skus[0]
  const chosen = useSignal<Record<string, string>>(first?.options ?? {})
  const one = product.skus.find((candidate) => matches(candidate, chosen.value))
  const prices = product.skus.map(({ price }) => price)
  const lowest = Math.min(...prices)
  return (
    <li>
      <article class="product" aria-label={shop.productText(product.name)}>
        {product.image === null ? (
          <span class="picture" />
        ) : (
          <img class="picture" src={product.image} alt="" width="320" height="200" loading="lazy" />
        )}
        <div class="product-body">
          <div class="product-head">
            <h2>{shop.productText(product.name)}</h2>
            <span class="price number">
              {one === undefined && prices.some((price) => price !== lowest)
                ? shop.from(cash(lowest))
                : cash(one?.price ?? lowest)}
            </span>
          </div>
          {product.description === null ? null : <p class="soft small">{shop.productText(product.description)}</p>}
          <Options product={product} chosen={chosen.value} onChoose={(choice) => (chosen.value = choice)} />
          <div class="product-foot">
            <div class="row">
              <Availability units={one === undefined ? undefined : availableOf(one)} />
              {popular.value.has(product.id) ? <span class="chip">{shop.bestSeller}</span> : null}
            </div>
            <Buy product={product} one={one} />
          </div>
        </div>
      </article>
    </li>
  )
}

function matches({ options }: ProductSku, chosen: Record<string, string>): boolean {
  return Object.entries(options ?? {}).every(([name, value]) => chosen[name] === value)
}

type OptionsProps = {
  product: Product
  chosen: Record<string, string>
  onChoose: (chosen: Record<string, string>) => void
}

/** One group of choices for each option, such as size and colour. */
function Options({ product, chosen, onChoose }: OptionsProps) {
  const { shop } = words.value
  const names = Object.keys(product.skus[0]?.options ?? {})
  return (
    <>
      {names.map((name) => (
        <fieldset class="stack" key={name}>
          <legend class="label">{shop.option(name)}</legend>
          <div class="choices">
            {[...new Set(product.skus.map(({ options }) => options?.[name] ?? ''))].map((value) => {
              const would_be = product.skus.find((one) => matches(one, { ...chosen, [name]: value }))
              const is_gone = would_be === undefined || availableOf(would_be) === 0
              return (
                <label key={value} class={`choice ${is_gone ? 'gone' : ''}`}>
                  <input
                    type="radio"
                    name={`${product.id} ${name}`}
                    checked={chosen[name] === value}
                    onChange={() => onChoose({ ...chosen, [name]: value })}
                  />
                  <span>
                    {shop.optionValue(value)}
                    {is_gone ? <span class="unseen">, {shop.soldOut}</span> : null}
                  </span>
                </label>
              )
            })}
          </div>
        </fieldset>
      ))}
    </>
  )
}

/** How many, and into the cart with them. */
function Buy({ product, one }: { product: Product; one: ProductSku | undefined }) {
  const { shop } = words.value
  const wanted = useSignal(1)
  const busy = useSignal(false)
  const problem = useSignal<ProblemFacts | undefined>(undefined)
  const units = one === undefined ? 0 : availableOf(one)
  const quantity = Math.max(1, Math.min(wanted.value, units))
  const name = nameOf(product, one ?? { options: null })
  const add = async () => {
    if (one === undefined) return
    busy.value = true
    const answer = await addToCart(one.sku, quantity)
    busy.value = false
    problem.value = answer.ok ? undefined : answer.problem
    if (!answer.ok) return
    wanted.value = 1
    say(shop.added(quantity === 1 ? name : `${quantity} × ${name}`), { text: shop.toCart, href: '/shop/cart' })
  }
  return (
    <>
      <div class="buy">
        <Stepper value={quantity} max={Math.min(units, QUANTITY_MAX)} of={name} onChange={(n) => (wanted.value = n)} />
        <Button
          look="first"
          off={busy.value || units === 0}
          label={units === 0 ? `${shop.soldOut}: ${name}` : `${shop.add}: ${name}`}
          onPress={() => asCustomer(() => void add())}
        >
          {busy.value ? shop.adding : units === 0 ? shop.soldOut : shop.add}
        </Button>
      </div>
      <ProblemNotice problem={problem.value} />
    </>
  )
}
