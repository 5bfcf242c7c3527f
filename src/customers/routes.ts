import { Type } from 'typebox'
import type { Refusal, Result } from '../errors.ts'
import { idempotencyOf } from '../http/idempotency.ts'
import { decodeCursor, LIMIT_DEFAULT, pageJson, PageQuery } from '../http/pagination.ts'
import { answer, created, refuseWith, REPLAYED_HEADER, route, type Route } from '../http/route.ts'
import type { Moved } from './account.ts'
import type { ChargeRequest } from './charge.ts'
import type { CreatedCustomer, NewCustomer } from './customers.ts'
import type { AccountEntry, Customer } from './queries.ts'
import {
  AccountEntrySchema,
  AccountPage,
  ChargeBalance,
  CreateCustomer,
  customerJson,
  CustomerParams,
  CustomerSchema,
  entryJson,
} from './schemas.ts'

/** The customers' functions, bound to a pool. */
export type CustomerRoutesDeps = {
  createCustomer: (request: NewCustomer) => Promise<Result<CreatedCustomer>>
  readCustomer: (id: string) => Promise<Customer | undefined>
  chargeBalance: (request: ChargeRequest) => Promise<Result<Moved>>
  readEntries: (
    customer_id: string,
    page: { limit: number; before_seq?: number },
  ) => Promise<AccountEntry[] | undefined>
  /** Whether one more change would be taken; asked before a body is read. */
  hasRoom: () => boolean
}

/** Customers, their balances, and the history of each. */
export function customerRoutes(customers: CustomerRoutesDeps): Route[] {
  return [create(customers), readOne(customers), charge(customers), ledger(customers)]
}

const TAG = 'Customers'
const PATH = '/v1/customers'
const CUSTOMER = { schema: CustomerSchema }

function create(customers: CustomerRoutesDeps): Route {
  return route({
    method: 'POST',
    path: PATH,
    operation_id: 'createCustomer',
    tag: TAG,
    summary: 'Make a customer',
    description: 'With a balance of zero.',
    scope: 'reserve',
    body: CreateCustomer,
    idempotency: 'accepted',
    hasRoom: () => customers.hasRoom(),
    responses: {
      201: {
        description: 'Made. With `Idempotent-Replayed: true` it was made before, and is shown as it is now.',
        ...CUSTOMER,
        headers: { Location: 'Where to read it.', ...REPLAYED_HEADER },
      },
    },
    refusals: ['idempotency_key_in_use', 'idempotency_key_reused', 'overloaded'],
    async handle({ body, client, idempotency_key }) {
      const result = await customers.createCustomer({
        ...body,
        client,
        ...idempotencyOf(idempotency_key, 'POST', PATH, body),
      })
      if (!result.ok) return refuseWith(result.refusal)
      const { customer, replayed } = result.value
      return created(customerJson(customer), { replayed, location: `${PATH}/${customer.id}` })
    },
  })
}

function readOne(customers: CustomerRoutesDeps): Route {
  return route({
    ...ofCustomer(''),
    method: 'GET',
    operation_id: 'getCustomer',
    summary: 'Read a customer and the balance',
    scope: 'read',
    responses: { 200: { description: 'As it is now.', ...CUSTOMER } },
    refusals: ['customer_not_found'],
    async handle({ params }) {
      const customer = await customers.readCustomer(params.id)
      return customer ? answer(200, customerJson(customer)) : refuseWith(noSuchCustomer(params))
    },
  })
}

function charge(customers: CustomerRoutesDeps): Route {
  return route({
    ...ofCustomer('/charges'),
    method: 'POST',
    operation_id: 'chargeBalance',
    summary: 'Add money to a balance',
    description: 'Once for each Idempotency-Key, which is required: the same again gets the same entry.',
    scope: 'admin',
    body: ChargeBalance,
    idempotency: 'required',
    hasRoom: () => customers.hasRoom(),
    responses: {
      201: {
        description: 'The entry that it made in the account. With `Idempotent-Replayed: true` it was made before.',
        schema: AccountEntrySchema,
        headers: REPLAYED_HEADER,
      },
    },
    refusals: ['customer_not_found', 'balance_limit', 'idempotency_key_in_use', 'idempotency_key_reused', 'overloaded'],
    async handle({ params, body, client, idempotency_key }) {
      const customer_id = params.id.toLowerCase()
      // Of another customer it is another request.
      const { idempotency } = idempotencyOf(idempotency_key, 'POST', `${PATH}/${customer_id}/charges`, body)
      const result = await customers.chargeBalance({ ...body, customer_id, client, idempotency: idempotency! })
      if (!result.ok) return refuseWith(result.refusal)
      const { entry, replayed } = result.value
      return created(entryJson(entry), { replayed })
    },
  })
}

function ledger(customers: CustomerRoutesDeps): Route {
  return route({
    ...ofCustomer('/ledger'),
    method: 'GET',
    operation_id: 'listAccountEntries',
    summary: 'Read the history of a balance',
    description: 'One entry for every change, newest first.',
    scope: 'read',
    query: Type.Object(PageQuery, { additionalProperties: false }),
    responses: { 200: { description: 'Changes, newest first.', schema: AccountPage } },
    refusals: ['customer_not_found'],
    async handle({ params, query }) {
      const before = decodeCursor(query.cursor, isSeq)
      if (!before.ok) return refuseWith(before.refusal)
      const limit = query.limit ?? LIMIT_DEFAULT
      const entries = await customers.readEntries(params.id, {
        limit: limit + 1,
        ...(before.value === undefined ? {} : { before_seq: before.value }),
      })
      if (entries === undefined) return refuseWith(noSuchCustomer(params))
      return answer(200, pageJson(entries, { limit, toJson: entryJson, cursorOf: ({ seq }) => seq }))
    },
  })
}

function isSeq(value: unknown): value is number {
  return Number.isSafeInteger(value)
}

/** What the routes of one customer have in common. */
function ofCustomer(rest: string) {
  return { path: `${PATH}/{id}${rest}`, tag: TAG, params: CustomerParams, impossible: noSuchCustomer }
}

/** What is no UUID can't be the id of a customer. */
export function noSuchCustomer(params: Record<string, string>): Refusal {
  return { code: 'customer_not_found', id: params.id ?? '' }
}
