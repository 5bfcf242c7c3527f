import { compare, finish, ONE_SKU, openShop, serve, serveBare, serveConstant } from '../arms.ts'
import { judge, judgeRatio, withFaults, withoutDriverFaults, type Goal } from '../goal.ts'
import { ask, type TestedServer } from '../servers.ts'
import { skuName } from '../../load/scenario.ts'

/** A durable reservation costs no more than an empty answer: the mark that the service is built for. */

const MEMORY_MB_MAX = 250

export const oneSku: Goal = {
  id: 1,
  title: 'one SKU, 256 connections: durable reservations ÷ the constant route',
  async run(context) {
    const shop = await openShop(context, 1)
    const service = await serve(context, shop)
    const pair = await serve(context, shop, { workers: 2 })
    const constant = await serveConstant(context, shop)
    const koa = await serveBare(context, 'koa')
    const node = await serveBare(context, 'node')
    const [reserved, paired, empty, bareKoa, bareNode] = await compare(context, [
      { name: 'service', server: service, scenario: ONE_SKU, db: shop.db },
      { name: 'service, WORKERS=2', server: pair, scenario: ONE_SKU, db: shop.db },
      { name: 'constant route', server: constant, scenario: ONE_SKU },
      { name: 'bare Koa', server: koa, scenario: ONE_SKU },
      { name: 'bare node:http', server: node, scenario: ONE_SKU },
    ])
    // The drivers are judged by a bare socket. These two may come near what they reach there: then they are at least as fast.
    const bare = withoutDriverFaults(bareKoa!)
    // This one is only told: where the drivers are its bound, it is at least what they reached.
    const together = withoutDriverFaults(paired!)
    const bounded = together.faults.length < paired!.faults.length
    const peak_mb = service.peakMemory() / 1e6
    const sizes = [
      await answerBytes(service, context.databases.api_key),
      await answerBytes(constant, context.databases.api_key),
    ]
    const unlike = sizes[0] === sizes[1] ? [] : [`the answers differ in size: ${sizes.join(' and ')} bytes`]
    return finish(context, [shop], {
      arms: [reserved!, together, empty!, bare, withoutDriverFaults(bareNode!)],
      rows: [
        withFaults(judgeRatio('one SKU ÷ constant route', reserved!, empty!, { at_least: 1 }), unlike),
        judgeRatio('constant route ÷ bare Koa', empty!, bare, { at_least: 0.8 }),
        judge('peak memory of the service, MB', peak_mb, { at_most: MEMORY_MB_MAX }),
        judgeRatio('one SKU with WORKERS=2 ÷ one process', together, reserved!, null),
      ],
      notes: [
        `an answer's body has ${sizes[0]} bytes, the constant route's ${sizes[1]}`,
        ...(bounded ? ['the load drivers may be what bounds the rate with WORKERS=2'] : []),
      ],
    })
  },
}

async function answerBytes(server: TestedServer, api_key: string): Promise<number> {
  const body = { lines: [{ sku: skuName(1), quantity: 1 }] }
  const answer = await ask(server.port, {
    method: 'POST',
    path: '/v1/reservations',
    api_key,
    body,
    key: `size-${server.pid}`,
  })
  return JSON.stringify(answer.body).length
}
