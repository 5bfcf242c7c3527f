import Koa from 'koa'
import { createServer } from 'node:http'
import { BARE_ANSWER } from './bare_answer.ts'

/** Koa with one middleware: what every service on it pays before it does anything. */

const app = new Koa()
app.use((ctx) => {
  ctx.req.resume()
  ctx.status = 201
  ctx.type = 'application/json; charset=utf-8'
  ctx.body = BARE_ANSWER
})
createServer(app.callback()).listen(Number(process.argv[2]), '127.0.0.1')
process.once('SIGTERM', () => process.exit(0))
