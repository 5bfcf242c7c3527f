import type { Context } from 'koa'
import type { Logger } from 'pino'
import { Type, type TSchema } from 'typebox'
import type { Result } from '../errors.ts'
import { problem, ProblemSchema, refusalOf } from './problem.ts'
import { answer, type Answer } from './route.ts'

/** Bulk routes: each item is answered on its own, in order, and none can fail another. */

/** @param resource what an item is answered with when it went well, under `reservation` */
export function bulkResults(resource: TSchema) {
  const done = Type.Object({ status: Type.Integer(), reservation: resource }, { additionalProperties: false })
  const failed = Type.Object({ status: Type.Integer(), error: ProblemSchema }, { additionalProperties: false })
  return Type.Object(
    { results: Type.Array(Type.Unsafe({ anyOf: [done, failed] })) },
    { title: 'BulkResults', additionalProperties: false },
  )
}

/**
 * Starts `verb` for every item, in order, and answers 200 with a result for each.
 *
 * @param status what an item that went well is answered with
 * @param verb what it comes to, as JSON
 */
export async function settle<Item>(
  ctx: Context,
  status: number,
  items: readonly Item[],
  verb: (item: Item) => Promise<Result<string>>,
): Promise<Answer> {
  const request_id = ctx.state.request_id as string
  const results = await Promise.all(
    items.map(async (item) => {
      const result = await verb(item).catch((error: unknown) => failure(ctx, error))
      if (result.ok) return `{"status":${status},"reservation":${result.value}}`
      const error = problem(result.refusal, request_id)
      return JSON.stringify({ status: error.status, error })
    }),
  )
  return answer(200, `{"results":[${results.join(',')}]}`)
}

function failure(ctx: Context, error: unknown): Result<never> {
  const refusal = refusalOf(error)
  if (refusal === undefined) {
    ;(ctx.log as Logger).error(
      { request_id: ctx.state.request_id as string, err: error },
      'an item failed unexpectedly',
    )
  }
  return { ok: false, refusal: refusal ?? { code: 'internal_error' } }
}
