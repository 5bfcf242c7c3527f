/**
 * Arrays as PostgreSQL's text form. pg makes it too, but looks at each element several times, which is felt when a batch
 * sends some thousands of them.
 * Source: https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO
 */

type Element = string | number | null | undefined

/** What needs no quotes: nothing that means something in an array. */
const PLAIN = /^[\w.:+-]+$/
/** Unquoted, this in any case is the null value. */
const NULL = /^null$/i
const SPECIAL = /["\\]/g

/**
 * A one-dimensional array, to be cast to its type by the statement.
 *
 * @param valueOf what of each item is sent; null and undefined become NULL
 */
export function arrayOf(items: readonly Element[]): string
export function arrayOf<Item>(items: readonly Item[], valueOf: (item: Item) => Element): string
export function arrayOf<Item>(items: readonly Item[], valueOf = (item: Item) => item as Element): string {
  let text = ''
  // A batch's rows have much in common, and what was the same in the row before need not be looked at again.
  let last: Element = undefined
  let last_text = elementOf(last)
  for (const item of items) {
    const value = valueOf(item)
    if (value !== last) {
      last = value
      last_text = elementOf(value)
    }
    text += text === '' ? last_text : `,${last_text}`
  }
  return `{${text}}`
}

function elementOf(value: Element): string {
  if (value === null || value === undefined) return 'NULL'
  if (typeof value === 'number') return `${value}`
  if (PLAIN.test(value) && (value.length !== 4 || !NULL.test(value))) return value
  return `"${value.replaceAll(SPECIAL, String.raw`\$&`)}"`
}
