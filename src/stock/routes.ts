import { Type } from 'typebox'
import type { Fault, Result } from '../errors.ts'
import type { StreamEvent } from '../http/event_stream.ts'
import { matchesNone, readIfMatch, refuseIfMatch } from '../http/etag.ts'
import { idempotencyOf } from '../http/idempotency.ts'
import { findBadText } from '../http/json.ts'
import { decodeCursor, LIMIT_DEFAULT, listJson, pageJson, PageQuery } from '../http/pagination.ts'
import { answer, created, refuseWith, route, streamFrom, type Route } from '../http/route.ts'
import type { Adjusted, Adjustment } from './adjust.ts'
import type { LedgerEntry } from './ledger.ts'
import type { Level } from './levels.ts'
import {
  AdjustStock,
  ledgerEntryJson,
  LedgerPage,
  LevelItems,
  LevelPage,
  LevelSchema,
  levelJson,
  SetStock,
  SetStockItems,
  SkuParams,
  StockQuery,
  StreamQuery,
} from './schemas.ts'
import type { SetResult } from './set.ts'
import type { Watch } from './watch.ts'

/** The stock room's functions, bound to their pools. */
export type StockRoutesDeps = {
  readLevel: (sku: string) => Promise<Level | undefined>
  readLevels: (skus: readonly string[]) => Promise<Level[]>
  listLevels: (page: { available?: boolean; limit: number; after?: string }) => Promise<Level[]>
  setStock: (
    items: readonly { sku: string; stock: number }[],
    options?: { if_match?: number | '*' },
  ) => Promise<Result<SetResult>>
  adjustStock: (request: Adjustment) => Promise<Result<Adjusted>>
  readLedger: (sku: string, page: { limit: number; before_seq?: number }) => Promise<LedgerEntry[] | undefined>
  watch: Watch['join']
}

/** Counters: read, set, adjust, and their history. */
export function stockRoutes(stock: StockRoutesDeps): Route[] {
  return [readOne(stock), list(stock), setOne(stock), setMany(stock), adjust(stock), ledger(stock), watch(stock)]
}

const TAG = 'Stock'
const ETAG_HEADER = { ETag: 'The `seq` in quotes; If-Match takes it.' }

function readOne(stock: StockRoutesDeps): Route {
  return route({
    method: 'GET',
    path: '/v1/stock/{sku}',
    operation_id: 'getStock',
    tag: TAG,
    summary: 'Read one SKU',
    scope: 'read',
    params: SkuParams,
    if_none_match: true,
    responses: {
      200: { description: 'Its counters.', schema: LevelSchema, headers: ETAG_HEADER },
      304: { description: 'Unchanged since the ETag in If-None-Match.', headers: ETAG_HEADER },
    },
    refusals: ['sku_not_found'],
    async handle({ params, ctx }) {
      const level = await stock.readLevel(params.sku)
      if (level === undefined) return refuseWith({ code: 'sku_not_found', sku: params.sku })
      const etag = etagOf(level)
      return matchesNone(ctx, etag) ? answer(304, null, { ETag: etag }) : answer(200, levelJson(level), { ETag: etag })
    },
  })
}

function list(stock: StockRoutesDeps): Route {
  return route({
    method: 'GET',
    path: '/v1/stock',
    operation_id: 'listStock',
    tag: TAG,
    summary: 'Read many SKUs',
    description: 'Those named by `sku`, in that order, or a page of all of them in SKU order.',
    scope: 'read',
    query: Type.Object({ ...StockQuery.properties, ...PageQuery }, { additionalProperties: false }),
    check: ({ query }) => (query.sku === undefined ? [] : excluded(query, ['available', 'limit', 'cursor'])),
    responses: { 200: { description: 'Levels.', schema: LevelPage } },
    async handle({ query }) {
      if (query.sku !== undefined) {
        const levels = await stock.readLevels([...new Set(query.sku)])
        return answer(200, listJson(levels.map(levelJson), null))
      }
      const after = decodeCursor(query.cursor, isText)
      if (!after.ok) return refuseWith(after.refusal)
      const limit = query.limit ?? LIMIT_DEFAULT
      const levels = await stock.listLevels({
        limit: limit + 1,
        available: query.available ?? false,
        ...(after.value === undefined ? {} : { after: after.value }),
      })
      return answer(200, pageJson(levels, { limit, toJson: levelJson, cursorOf: (level) => level.sku }))
    },
  })
}

function excluded(query: object, names: readonly string[]): Fault[] {
  return names
    .filter((name) => name in query)
    .map((name) => ({ path: `query/${name}`, message: 'cannot be used together with sku' }))
}

function setOne(stock: StockRoutesDeps): Route {
  return route({
    method: 'PUT',
    path: '/v1/stock/{sku}',
    operation_id: 'setStock',
    tag: TAG,
    summary: 'Create a SKU, or set its count',
    description: 'The absolute number of units on hand. What is held stays held. If-Match makes it compare-and-set.',
    scope: 'admin',
    params: SkuParams,
    body: SetStock,
    if_match: true,
    responses: {
      200: { description: 'The count was set.', schema: LevelSchema, headers: ETAG_HEADER },
      201: { description: 'The SKU is new.', schema: LevelSchema, headers: ETAG_HEADER },
    },
    refusals: ['stock_below_reserved', 'precondition_failed'],
    async handle({ params, body, ctx }) {
      const if_match = readIfMatch(ctx)
      if (!if_match.ok) return refuseWith(if_match.refusal)
      const options = if_match.value === undefined ? {} : { if_match: if_match.value }
      const result = await stock.setStock([{ sku: params.sku, stock: body.stock }], options)
      if (!result.ok) return refuseWith(result.refusal)
      const level = result.value.levels[0]!
      return answer(result.value.created.length > 0 ? 201 : 200, levelJson(level), { ETag: etagOf(level) })
    },
  })
}

function setMany(stock: StockRoutesDeps): Route {
  return route({
    method: 'PUT',
    path: '/v1/stock',
    operation_id: 'setStockItems',
    tag: TAG,
    summary: 'Create or set up to a thousand SKUs',
    description: 'All or nothing.',
    scope: 'admin',
    body: SetStockItems,
    bulk: true,
    check: ({ body }) => findRepeatedSkus(body.items),
    responses: { 200: { description: 'Levels, in the order of the items.', schema: LevelItems } },
    refusals: ['stock_below_reserved'],
    async handle({ body, ctx }) {
      const no_if_match = refuseIfMatch(ctx)
      if (!no_if_match.ok) return refuseWith(no_if_match.refusal)
      const result = await stock.setStock(body.items)
      return result.ok ? answer(200, itemsJson(result.value.levels)) : refuseWith(result.refusal)
    },
  })
}

function findRepeatedSkus(items: readonly { sku: string }[]): Fault[] {
  const seen = new Set<string>()
  return items.flatMap(({ sku }, i) => {
    if (!seen.has(sku)) {
      seen.add(sku)
      return []
    }
    return [{ path: `/items/${i}/sku`, message: 'appears before; each SKU may be set once' }]
  })
}

function adjust(stock: StockRoutesDeps): Route {
  return route({
    method: 'POST',
    path: '/v1/stock/adjustments',
    operation_id: 'adjustStock',
    tag: TAG,
    summary: 'Add to and take from stock',
    description: 'Up to a thousand changes, in order, all or nothing: goods that came in, were lost or returned.',
    scope: 'admin',
    body: AdjustStock,
    bulk: true,
    idempotency: 'accepted',
    responses: { 201: { description: 'A level for each item, as it is after all of them.', schema: LevelItems } },
    refusals: [
      'skus_not_found',
      'stock_below_reserved',
      'stock_limit',
      'idempotency_key_in_use',
      'idempotency_key_reused',
      'overloaded',
    ],
    async handle({ body, client, idempotency_key }) {
      const result = await stock.adjustStock({
        ...body,
        client,
        ...idempotencyOf(idempotency_key, 'POST', '/v1/stock/adjustments', body),
      })
      if (!result.ok) return refuseWith(result.refusal)
      const { levels, replayed } = result.value
      return created(itemsJson(levels), { replayed })
    },
  })
}

function ledger(stock: StockRoutesDeps): Route {
  return route({
    method: 'GET',
    path: '/v1/stock/{sku}/ledger',
    operation_id: 'listLedger',
    tag: TAG,
    summary: 'Read the history of a SKU',
    description: 'One entry for every change of its counters, newest first.',
    scope: 'read',
    params: SkuParams,
    query: Type.Object(PageQuery, { additionalProperties: false }),
    responses: { 200: { description: 'Changes, newest first.', schema: LedgerPage } },
    refusals: ['sku_not_found'],
    async handle({ params, query }) {
      const before = decodeCursor(query.cursor, isSeq)
      if (!before.ok) return refuseWith(before.refusal)
      const limit = query.limit ?? LIMIT_DEFAULT
      const entries = await stock.readLedger(params.sku, {
        limit: limit + 1,
        ...(before.value === undefined ? {} : { before_seq: before.value }),
      })
      if (entries === undefined) return refuseWith({ code: 'sku_not_found', sku: params.sku })
      return answer(200, pageJson(entries, { limit, toJson: ledgerEntryJson, cursorOf: (entry) => entry.seq }))
    },
  })
}

function watch(stock: StockRoutesDeps): Route {
  return route({
    method: 'GET',
    path: '/v1/streams/stock',
    operation_id: 'streamStock',
    tag: TAG,
    summary: 'Watch stock',
    description:
      'Server-sent events: the `data` of each is a Level, sent when it has changed, at most five times a second for each SKU. ' +
      'With `sku` each named one is sent at the beginning too. Without it only changes are: read the list after the stream has ' +
      'begun, and keep whichever has the greater `seq`; a stream that ends at once after a great many changes is begun anew.',
    scope: 'read',
    query: StreamQuery,
    responses: {
      200: {
        description: 'Levels, until either side ends it.',
        schema: Type.String(),
        content_type: 'text/event-stream',
      },
    },
    refusals: ['overloaded'],
    handle: ({ query }) =>
      streamFrom((stream) =>
        stock.watch({
          skus: query.sku === undefined ? undefined : [...new Set(query.sku)],
          tell: (levels) => stream.send(levels.map(eventOf)),
          end: () => stream.end(),
        }),
      ),
  })
}

/** Many are told of one level, which is made into text once. */
const events = new WeakMap<Level, StreamEvent>()

function eventOf(level: Level): StreamEvent {
  let event = events.get(level)
  if (event === undefined) events.set(level, (event = { key: level.sku, json: levelJson(level) }))
  return event
}

function itemsJson(levels: readonly Level[]): string {
  return `{"items":[${levels.map(levelJson).join(',')}]}`
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && findBadText(value, '') === undefined
}

function isSeq(value: unknown): value is number {
  return Number.isSafeInteger(value)
}

function etagOf(level: Level): string {
  return `"${level.seq}"`
}
