import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { end, freePort, start } from '../bench/children.ts'
import { capture } from '../bench/home.ts'

/** Redis servers of a comparison's own: children that listen on loopback and end with it. */

export type RedisProgram = { path: string; version: string }

/** `none`: nothing is written to disk. The others are what Redis calls `appendfsync`. */
export type Durability = 'none' | 'everysec' | 'always'

export type RedisServer = { url: string; stop(): Promise<void> }

/** How to get it; npm brings none along. */
export const INSTALL_REDIS = 'redis-server is not installed; on Debian and Ubuntu: apt-get install redis-server'

const FOLDERS = ['/usr/bin', '/usr/local/bin', '/opt/homebrew/bin', '/opt/local/bin', '/snap/bin']
const START_TIMEOUT_MS = 5000
const POLL_MS = 10

/** Finds redis-server where packages put it. */
export async function findRedis(): Promise<RedisProgram | undefined> {
  for (const folder of FOLDERS) {
    const path = join(folder, 'redis-server')
    if (!existsSync(path)) continue
    const said = await capture(path, ['--version'], { limit_ms: 5000 })
    return { path, version: /v=([\d.]+)/.exec(said)?.[1] ?? said.trim() }
  }
  return undefined
}

/** @param dir where the server may make a folder for what it writes */
export async function startRedis(
  program: RedisProgram,
  { dir, durability }: { dir: string; durability: Durability },
): Promise<RedisServer> {
  const port = await freePort()
  const data = mkdtempSync(join(dir, 'redis-'))
  const appends = durability === 'none' ? ['no'] : ['yes', '--appendfsync', durability]
  const running = start(
    program.path,
    ['--port', String(port), '--bind', '127.0.0.1', '--dir', data, '--save', '', '--appendonly', ...appends],
    {},
  )
  const stop = async (): Promise<void> => {
    await end(running)
    rmSync(data, { recursive: true, force: true })
  }
  let ended = false
  void running.ended.catch(() => undefined).then(() => (ended = true))
  for (const deadline = Date.now() + START_TIMEOUT_MS; !(await pongs(port)); await delay(POLL_MS)) {
    if (!ended && Date.now() < deadline) continue
    await stop()
    throw new Error('redis-server did not start')
  }
  return { url: `redis://127.0.0.1:${port}`, stop }
}

function pongs(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('PING\r\n'))
    socket.setTimeout(1000, () => socket.destroy())
    socket.once('data', (answer) => {
      resolve(answer.toString().startsWith('+PONG'))
      socket.destroy()
    })
    socket.once('error', () => resolve(false))
    socket.once('close', () => resolve(false))
  })
}
