import { Type, type Static } from 'typebox'
import { refused, type Result, ok } from '../errors.ts'

/** Lists: `limit` from 1 to 200, and a cursor that a client hands back as it got it. */

export const LIMIT_DEFAULT = 50
const LIMIT_MAX = 200

export const Limit = Type.Integer({ minimum: 1, maximum: LIMIT_MAX, description: `Default ${LIMIT_DEFAULT}.` })
export const Cursor = Type.String({
  minLength: 1,
  maxLength: 1024,
  description: 'The `next_cursor` of the page before; opaque.',
})

export const PageQuery = { limit: Type.Optional(Limit), cursor: Type.Optional(Cursor) }
export type PageQuery = { limit?: Static<typeof Limit>; cursor?: Static<typeof Cursor> }

/** A cursor that carries one value, unreadable on purpose. */
export function encodeCursor(value: string | number): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}

/** What a cursor carries, if it is one of ours and `isSound` says so. */
export function decodeCursor<T extends string | number>(
  cursor: string | undefined,
  isSound: (value: unknown) => value is T,
): Result<T | undefined> {
  if (cursor === undefined) return ok(undefined)
  try {
    const value: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8'))
    if (isSound(value)) return ok(value)
  } catch {
    // Not one of ours, as below.
  }
  return refused({
    code: 'invalid_request',
    errors: [{ path: 'query/cursor', message: 'must be the next_cursor of the page before' }],
  })
}

/** How a list is cut into pages. */
type Paging<Item> = { limit: number; toJson: (item: Item) => string; cursorOf: (last: Item) => string | number }

/** A page as JSON. One item more than the limit was asked for, so that its presence says that there is a next page. */
export function pageJson<Item>(items: readonly Item[], { limit, toJson, cursorOf }: Paging<Item>): string {
  if (items.length <= limit) return listJson(items.map(toJson), null)
  return listJson(items.slice(0, limit).map(toJson), encodeCursor(cursorOf(items[limit - 1]!)))
}

/** A list as JSON, of items that are JSON already. */
export function listJson(items: readonly string[], next_cursor: string | null): string {
  return `{"data":[${items.join(',')}],"next_cursor":${JSON.stringify(next_cursor)}}`
}
