import { ResponseParser } from '../../src/lab/load/response_parser.ts'
import { response } from './answering.ts'

type Read = { status: number; body: string; keep_alive: boolean }

function reader(): { parser: ResponseParser; read: Read[] } {
  const read: Read[] = []
  const parser = new ResponseParser((status, body, keep_alive) =>
    read.push({ status, body: body.toString(), keep_alive }),
  )
  return { parser, read }
}

const CHUNKED =
  'HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n5;ext=1\r\nhello\r\n7\r\n, world\r\n0\r\nTrailer: x\r\n\r\n'

test('a response is read whole, with its body and whether the connection stays', () => {
  const { parser, read } = reader()
  parser.push(Buffer.from(response(201, 'abc')))
  parser.push(Buffer.from(response(503, '', ['CONNECTION: Close'])))
  expect(read).toEqual([
    { status: 201, body: 'abc', keep_alive: true },
    { status: 503, body: '', keep_alive: false },
  ])
})

test('wherever packets are split, the same responses are read', () => {
  const bytes = Buffer.from(`${response(201, 'first')}${CHUNKED}${response(204, '')}${response(409, 'last')}`)
  const expected = [
    { status: 201, body: 'first', keep_alive: true },
    { status: 200, body: 'hello, world', keep_alive: true },
    { status: 204, body: '', keep_alive: true },
    { status: 409, body: 'last', keep_alive: true },
  ]
  for (let at = 0; at <= bytes.length; at++) {
    const { parser, read } = reader()
    parser.push(bytes.subarray(0, at))
    parser.push(bytes.subarray(at))
    expect(read).toEqual(expected)
  }
  const { parser, read } = reader()
  for (const byte of bytes) parser.push(Buffer.of(byte))
  expect(read).toEqual(expected)
})

test('what arrived may be overwritten afterwards', () => {
  const { parser, read } = reader()
  const bytes = Buffer.from(response(200, 'kept'))
  const buffer = Buffer.from(bytes.subarray(0, 20))
  parser.push(buffer)
  buffer.fill(0)
  parser.push(bytes.subarray(20))
  expect(read[0]?.body).toBe('kept')
})

test('an interim response is none', () => {
  const { parser, read } = reader()
  parser.push(Buffer.from(`HTTP/1.1 100 Continue\r\n\r\n${response(200, 'x')}`))
  expect(read.map(({ status }) => status)).toEqual([200])
})

test('a body without a length ends with the connection', () => {
  const { parser, read } = reader()
  parser.push(Buffer.from('HTTP/1.1 200 OK\r\n\r\nall of it'))
  expect(read).toEqual([])
  expect(parser.end()).toBe(true)
  expect(read).toEqual([{ status: 200, body: 'all of it', keep_alive: false }])
})

test('a connection that ends within a response leaves it unread', () => {
  const { parser, read } = reader()
  parser.push(Buffer.from(response(200, 'all of it').slice(0, -3)))
  expect(parser.end()).toBe(false)
  expect(read).toEqual([])
})

test('what is not HTTP is an error', () => {
  expect(() => reader().parser.push(Buffer.from('SSH-2.0-OpenSSH\r\n'))).toThrow('HTTP/')
  expect(() =>
    reader().parser.push(Buffer.from('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n')),
  ).toThrow('size')
})
