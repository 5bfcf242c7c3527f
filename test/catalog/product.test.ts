import { findSkuFaults, type Options } from '../../src/catalog/product.ts'

/** Which SKUs can be one product. */

const one = (sku: string, options?: Options) => (options === undefined ? { sku } : { sku, options })
const M = { size: 'M' }
const L = { size: 'L' }

test.each([
  ['a single SKU without options', [one('A')]],
  ['a single SKU with options', [one('A', M)]],
  ['one SKU for each size', [one('A', M), one('B', L)]],
  [
    'one SKU for each combination, whatever the order of its options',
    [one('A', { size: 'M', color: 'red' }), one('B', { color: 'red', size: 'L' })],
  ],
])('%s: a product', (_, skus) => {
  expect(findSkuFaults(skus)).toEqual([])
})

test.each([
  ['two SKUs without options', [one('A'), one('B')], ['/skus/0/options', '/skus/1/options']],
  ['one of them without options', [one('A', M), one('B')], ['/skus/1/options']],
  ['other options', [one('A', M), one('B', { color: 'red' })], ['/skus/1/options']],
  ['more options', [one('A', M), one('B', { size: 'L', color: 'red' })], ['/skus/1/options']],
  ['a combination twice', [one('A', M), one('B', L), one('C', M)], ['/skus/2/options']],
  [
    'a combination twice in another order',
    [one('A', { size: 'M', color: 'red' }), one('B', { color: 'red', size: 'M' })],
    ['/skus/1/options'],
  ],
  ['a SKU twice', [one('A', M), one('A', L)], ['/skus/1/sku']],
])('%s: no product', (_, skus, paths) => {
  expect(findSkuFaults(skus).map(({ path }) => path)).toEqual(paths)
})

test('what is added must fit what the product has', () => {
  const known = [{ sku: 'A', options: M }]
  expect(findSkuFaults([one('B', L)], known)).toEqual([])
  expect(findSkuFaults([undefined, one('B', M)], known).map(({ path }) => path)).toEqual(['/skus/1/options'])
  expect(findSkuFaults([one('A', L)], known).map(({ path }) => path)).toEqual(['/skus/0/sku'])
  expect(findSkuFaults([one('B', L)], [{ sku: 'A', options: null }])).toHaveLength(1)
})

test('options that are named like what every object has are options', () => {
  const proto = JSON.parse('{"__proto__":"M"}') as Options
  expect(findSkuFaults([one('A', proto), one('B', proto)])).toHaveLength(1)
  expect(findSkuFaults([one('A', proto), one('B', { constructor: 'M' })])).toHaveLength(1)
})
