import { createServer } from 'node:http'
import { BARE_ANSWER } from './bare_answer.ts'

/** Node's HTTP server and nothing else. */

createServer((request, response) => {
  request.resume()
  response.writeHead(201, { 'Content-Type': 'application/json; charset=utf-8', 'Content-Length': BARE_ANSWER.length })
  response.end(BARE_ANSWER)
}).listen(Number(process.argv[2]), '127.0.0.1')
