import type { RedisConnection } from './connection.ts'

export type RedisInfo = {
  /** Another after each start of Redis. */
  run_id: string
  /** Bytes that Redis has allocated. */
  memory_bytes: number
}

/** What Redis says of itself. @throws RedisUnavailable */
export async function readInfo(redis: RedisConnection): Promise<RedisInfo> {
  const text = await redis.run((client) => client.info())
  const field = (name: string): string => new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(text)?.[1] ?? ''
  return { run_id: field('run_id'), memory_bytes: Number(field('used_memory')) }
}
