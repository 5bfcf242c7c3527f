import type { IncomingMessage } from 'node:http'

const FORWARDING_HEADERS = ['forwarded', 'via', 'x-real-ip', 'x-client-ip', 'true-client-ip', 'cf-connecting-ip']

/**
 * Whether a request was made on this machine, by something that meant to: not handed on by a proxy, whose own address
 * is the one that shows, and not by a page that a browser loaded from elsewhere, whatever name that page's host has made
 * to point here.
 */
export function isLocal(request: IncomingMessage): boolean {
  const { headers } = request
  if (!isLoopback(request.socket.remoteAddress ?? '')) return false
  if (FORWARDING_HEADERS.some((name) => headers[name] !== undefined)) return false
  for (const name in headers) if (name.startsWith('x-forwarded')) return false
  if (headers.host !== undefined && !isLoopbackName(headers.host)) return false
  if (headers.origin !== undefined && !isLoopbackName(headers.origin.replace(/^[a-z]+:\/\//i, ''))) return false
  return headers['sec-fetch-site'] !== 'cross-site'
}

function isLoopback(address: string): boolean {
  return address === '127.0.0.1' || address === '::1' || /^(::ffff:)?127\.\d+\.\d+\.\d+$/.test(address)
}

const LOOPBACK_NAME = /^(localhost|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|\[::1\])(:\d{1,5})?$/i

function isLoopbackName(host: string): boolean {
  return LOOPBACK_NAME.test(host)
}
