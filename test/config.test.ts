import { expect, test } from '@jest/globals'
import { ConfigError, loadConfig } from '../src/config.ts'

/** Settings that are one value or several with weights, and what strategies need. */

function faultsOf(source: Record<string, string>): readonly string[] {
  try {
    loadConfig(source)
    return []
  } catch (error) {
    if (error instanceof ConfigError) return error.faults
    throw error
  }
}

test('nothing is set: one strategy, one hold time, no fallback', () => {
  const config = loadConfig({})
  expect(config.reservation_strategy).toEqual([{ value: 'batched', weight: 1 }])
  expect(config.reservation_ttl_seconds).toEqual([{ value: 1800, weight: 1 }])
  expect(config.reservation_fallback).toBeUndefined()
  expect(config.strategies).toEqual({
    redis_url: undefined,
    redis_urls: [],
    redis_sync_interval_seconds: 60,
    queue_workers: 2,
    optimistic_retries_max: 3,
    optimistic_backoff_ms: 100,
  })
})

test('several with weights are read as they are written, spaces aside', () => {
  const config = loadConfig({
    RESERVATION_STRATEGY: 'batched:70, optimistic : 30',
    RESERVATION_TTL_SECONDS: '600:50,1800:50',
    RESERVATION_FALLBACK: 'batched',
  })
  expect(config.reservation_strategy).toEqual([
    { value: 'batched', weight: 70 },
    { value: 'optimistic', weight: 30 },
  ])
  expect(config.reservation_ttl_seconds).toEqual([
    { value: 600, weight: 50 },
    { value: 1800, weight: 50 },
  ])
  expect(config.reservation_fallback).toBe('batched')
})

test.each([
  ['RESERVATION_STRATEGY', 'fast', /^RESERVATION_STRATEGY must be one of batched, conditional, .*; "fast" is not$/],
  ['RESERVATION_STRATEGY', 'batched,optimistic', /must give each of several a weight; batched has none$/],
  ['RESERVATION_STRATEGY', 'batched:70,batched:30', /^RESERVATION_STRATEGY names batched twice$/],
  ['RESERVATION_STRATEGY', 'batched:0,mutex:1', /whole weights from 1 to 1000000; batched has "0"$/],
  ['RESERVATION_STRATEGY', 'batched:1.5,mutex:1', /batched has "1\.5"$/],
  ['RESERVATION_STRATEGY', 'batched:-1,mutex:1', /batched has "-1"$/],
  ['RESERVATION_STRATEGY', 'batched:1,', /; "" is not$/],
  ['RESERVATION_STRATEGY', 'redis', /^RESERVATION_STRATEGY=redis needs REDIS_URL, such as redis:\/\/localhost:6379$/],
  ['RESERVATION_STRATEGY', 'batched:1,spinlock:1', /^RESERVATION_STRATEGY=spinlock needs REDIS_URL/],
  ['RESERVATION_STRATEGY', 'redlock', /^RESERVATION_STRATEGY=redlock needs REDIS_URL/],
  ['RESERVATION_FALLBACK', 'redis', /^RESERVATION_FALLBACK=redis needs REDIS_URL/],
  ['RESERVATION_FALLBACK', 'none', /^RESERVATION_FALLBACK must be one of batched, /],
  ['RESERVATION_FALLBACK', 'batched', /^RESERVATION_FALLBACK must be another strategy than RESERVATION_STRATEGY$/],
  [
    'RESERVATION_TTL_SECONDS',
    '0',
    /^RESERVATION_TTL_SECONDS must be whole seconds from 1 to 31536000, .*; "0" is not$/,
  ],
  ['RESERVATION_TTL_SECONDS', '600:1,half an hour:1', /; "half an hour" is not$/],
  [
    'RESERVATION_TTL_SECONDS',
    '600:1,86401:1',
    /^RESERVATION_TTL_SECONDS must not be above RESERVATION_TTL_MAX_SECONDS$/,
  ],
  ['RESERVATION_TTL_SECONDS', '600:1,0600:1', /^RESERVATION_TTL_SECONDS names 0600 twice$/],
  ['REDIS_URL', 'localhost:6379', /^REDIS_URL /],
  ['REDIS_URLS', 'redis://one,two', /^REDIS_URLS /],
  ['OPTIMISTIC_RETRIES_MAX', '-1', /^OPTIMISTIC_RETRIES_MAX must be >= 0$/],
  ['OPTIMISTIC_BACKOFF_MS', '0', /^OPTIMISTIC_BACKOFF_MS must be >= 1$/],
])('%s=%s: the start is refused in one line', (name, value, words) => {
  const faults = faultsOf({ [name]: value })
  expect(faults).toHaveLength(1)
  expect(faults[0]).toMatch(words)
})

test('with a Redis its strategies may be chosen; the nodes of redlock are that one unless others are named', () => {
  const one = loadConfig({ RESERVATION_STRATEGY: 'redlock', REDIS_URL: 'redis://one:6379' })
  expect(one.strategies).toMatchObject({ redis_url: 'redis://one:6379', redis_urls: ['redis://one:6379'] })
  const REDIS_URLS = 'redis://one:1,redis://two:2,rediss://three:3'
  const three = loadConfig({ RESERVATION_STRATEGY: 'redlock', REDIS_URLS })
  expect(three.strategies).toMatchObject({ redis_url: undefined, redis_urls: REDIS_URLS.split(',') })
})

test('of several faults each is told', () => {
  expect(
    faultsOf({ RESERVATION_STRATEGY: 'fast', RESERVATION_TTL_SECONDS: 'slow', EXPIRY_CRON: 'never' }),
  ).toHaveLength(3)
})
