import { createHash } from 'node:crypto'
import { isNativeError } from 'node:util/types'
import type { Redis } from 'ioredis'

/** A Lua script: Redis runs it as a whole, with nothing in between. */
export type Script = { lua: string; sha: string }

/** A script and the hash by which Redis knows it. */
export function script(lua: string): Script {
  return { lua, sha: createHash('sha1').update(lua).digest('hex') }
}

/**
 * Runs a script by its hash; Redis is sent the text when it does not know it, as after a restart.
 *
 * @throws what Redis answered or the connection met
 */
export async function evaluate<T>(
  client: Redis,
  { lua, sha }: Script,
  keys: readonly string[],
  args: readonly (string | number)[],
): Promise<T> {
  try {
    return (await client.evalsha(sha, keys.length, ...keys, ...args)) as T
  } catch (error) {
    if (!isNativeError(error) || !error.message.startsWith('NOSCRIPT')) throw error
    return (await client.eval(lua, keys.length, ...keys, ...args)) as T
  }
}
