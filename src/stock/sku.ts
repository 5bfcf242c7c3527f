import { Sku } from './schemas.ts'

const LENGTH_MAX = 128
const PATTERN = new RegExp((Sku as unknown as { pattern: string }).pattern, 'u')

/** What is wrong with a SKU that came in by another door than HTTP, by the same rules; undefined if nothing is. */
export function skuFault(sku: string): string | undefined {
  const length = [...sku].length
  if (length === 0) return 'the SKU is empty'
  if (length > LENGTH_MAX) return `a SKU has at most ${LENGTH_MAX} characters, this one ${length}`
  if (sku.includes('\ufffd')) return 'the SKU is not valid UTF-8: save the file in that encoding'
  if (!PATTERN.test(sku))
    return `SKU ${JSON.stringify(sku)}: control characters, line breaks and space at an end are not allowed`
  return undefined
}
