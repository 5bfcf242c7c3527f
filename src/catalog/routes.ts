import { Type } from 'typebox'
import type { Refusal, Result } from '../errors.ts'
import { idempotencyOf } from '../http/idempotency.ts'
import { decodeCursor, LIMIT_DEFAULT, pageJson, PageQuery } from '../http/pagination.ts'
import { answer, created, refuseWith, REPLAYED_HEADER, route, type Route } from '../http/route.ts'
import { isUuid } from '../ids.ts'
import type { ProductChange } from './change.ts'
import type { CreatedProduct, NewProduct } from './create.ts'
import { findSkuFaults, type Product, type ProductStatus } from './product.ts'
import {
  ChangeProduct,
  CreateProduct,
  productJson,
  ProductFilters,
  ProductPage,
  ProductParams,
  ProductSchema,
} from './schemas.ts'

/** The catalogue's functions, bound to a pool. */
export type CatalogRoutesDeps = {
  createProduct: (request: NewProduct) => Promise<Result<CreatedProduct>>
  changeProduct: (id: string, change: ProductChange) => Promise<Result<Product>>
  listProducts: (page: { status?: ProductStatus; before_id?: string; limit: number }) => Promise<Product[]>
  readProduct: (id: string) => Promise<Product | undefined>
}

/** Products: made, changed, listed and read. */
export function catalogRoutes(catalog: CatalogRoutesDeps): Route[] {
  return [create(catalog), list(catalog), readOne(catalog), change(catalog)]
}

const TAG = 'Products'
const PATH = '/v1/products'
const PRODUCT = { schema: ProductSchema }

function create(catalog: CatalogRoutesDeps): Route {
  return route({
    method: 'POST',
    path: PATH,
    operation_id: 'createProduct',
    tag: TAG,
    summary: 'Make a product, and the stock of its SKUs',
    description: 'All or nothing. A product without options has one SKU; with options, one for each combination.',
    scope: 'admin',
    body: CreateProduct,
    idempotency: 'accepted',
    check: ({ body }) => findSkuFaults(body.skus).slice(0, 20),
    responses: {
      201: {
        description: 'Made. With `Idempotent-Replayed: true` it was made before, and is shown as it is now.',
        ...PRODUCT,
        headers: { Location: 'Where to read it.', ...REPLAYED_HEADER },
      },
    },
    refusals: ['sku_taken', 'idempotency_key_in_use', 'idempotency_key_reused', 'overloaded'],
    async handle({ body, client, idempotency_key }) {
      const result = await catalog.createProduct({
        ...body,
        client,
        ...idempotencyOf(idempotency_key, 'POST', PATH, body),
      })
      if (!result.ok) return refuseWith(result.refusal)
      const { product, replayed } = result.value
      return created(productJson(product), { replayed, location: `${PATH}/${product.id}` })
    },
  })
}

function list(catalog: CatalogRoutesDeps): Route {
  return route({
    method: 'GET',
    path: PATH,
    operation_id: 'listProducts',
    tag: TAG,
    summary: 'List products with what is available',
    description: 'Newest first. Only active ones, unless `status` asks for others, which needs the scope `admin`.',
    scope: 'read',
    query: Type.Object({ ...ProductFilters, ...PageQuery }, { additionalProperties: false }),
    responses: { 200: { description: 'Products, newest first.', schema: ProductPage } },
    async handle({ query, is_admin }) {
      const { status = 'active', limit = LIMIT_DEFAULT } = query
      if (status !== 'active' && !is_admin) return refuseWith(ADMIN_ONLY)
      const before = decodeCursor(query.cursor, isUuid)
      if (!before.ok) return refuseWith(before.refusal)
      const products = await catalog.listProducts({
        status,
        limit: limit + 1,
        ...(before.value === undefined ? {} : { before_id: before.value }),
      })
      return answer(200, pageJson(products, { limit, toJson: productJson, cursorOf: ({ id }) => id }))
    },
  })
}

const ADMIN_ONLY: Refusal = {
  code: 'forbidden',
  detail: 'use an API key with the scope "admin" to list products that are not active',
}

function readOne(catalog: CatalogRoutesDeps): Route {
  return route({
    method: 'GET',
    path: `${PATH}/{id}`,
    operation_id: 'getProduct',
    tag: TAG,
    summary: 'Read one product with what is available',
    description: 'An archived one too, which orders may name; a draft only with the scope `admin`.',
    scope: 'read',
    params: ProductParams,
    impossible: noSuchProduct,
    responses: { 200: { description: 'As it is now.', ...PRODUCT } },
    refusals: ['product_not_found'],
    async handle({ params, is_admin }) {
      const product = await catalog.readProduct(params.id)
      if (product === undefined || (product.status === 'draft' && !is_admin)) return refuseWith(noSuchProduct(params))
      return answer(200, productJson(product))
    },
  })
}

function change(catalog: CatalogRoutesDeps): Route {
  return route({
    method: 'PATCH',
    path: `${PATH}/{id}`,
    operation_id: 'changeProduct',
    tag: TAG,
    summary: 'Change a product, its prices, or add SKUs',
    description:
      'What is not named stays. A SKU keeps its name, product and options, and is never taken away (archive the product); ' +
      'its stock is set with `PUT /v1/stock/{sku}`. What orders say of a product stays as it was when they were made.',
    scope: 'admin',
    params: ProductParams,
    impossible: noSuchProduct,
    body: ChangeProduct,
    idempotency: 'ignored',
    responses: { 200: { description: 'Changed.', ...PRODUCT } },
    refusals: ['product_not_found', 'sku_taken', 'overloaded'],
    async handle({ params, body }) {
      const result = await catalog.changeProduct(params.id, body)
      return result.ok ? answer(200, productJson(result.value)) : refuseWith(result.refusal)
    },
  })
}

/** What is no UUID can't be the id of a product. */
function noSuchProduct(params: Record<string, string>): Refusal {
  return { code: 'product_not_found', id: params.id ?? '' }
}
