import { spawn, type ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A Redis of a test's own, which can be killed, stopped and started again on its port. */
export type RedisServer = {
  url: string
  /** SIGKILL; what it held is gone with it. */
  kill(): Promise<void>
  /** Starts it again, empty; one that runs goes on as it was, and answers if it was paused. */
  start(): Promise<void>
  /** It keeps its connections and answers nobody. */
  pause(): void
  resume(): void
  /** Kills it for good. */
  stop(): Promise<void>
}

const READY = /Ready to accept connections/
const MISSING = 'redis-server is not installed: apt-get install redis-server (Debian), brew install redis (macOS)'

const running = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

/**
 * Starts a Redis that keeps nothing on disk.
 *
 * @throws in words if redis-server is not installed
 */
export async function startRedis(): Promise<RedisServer> {
  const dir = mkdtempSync(join(tmpdir(), 'redis-test-'))
  const port = await freePort()
  let child = await launch(port, dir)

  const server: RedisServer = {
    url: `redis://127.0.0.1:${port}/0`,
    kill: () => end(child),
    async start() {
      if (hasEnded(child)) child = await launch(port, dir)
      else child.kill('SIGCONT')
    },
    pause: () => void child.kill('SIGSTOP'),
    resume: () => void child.kill('SIGCONT'),
    async stop() {
      await end(child)
      rmSync(dir, { recursive: true, force: true })
    },
  }
  return server
}

async function launch(port: number, dir: string): Promise<ChildProcess> {
  const child = spawn('redis-server', ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--dir', dir], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  running.add(child)
  child.once('exit', () => running.delete(child))
  await new Promise<void>((resolve, reject) => {
    let said = ''
    child.once('error', (error: NodeJS.ErrnoException) => {
      running.delete(child)
      reject(error.code === 'ENOENT' ? new Error(MISSING) : error)
    })
    child.once('exit', (code) => reject(new Error(`redis-server ended with ${code}: ${said}`)))
    child.stdout!.on('data', (chunk: Buffer) => {
      said += chunk.toString()
      if (READY.test(said)) resolve()
    })
  })
  return child
}

const hasEnded = (child: ChildProcess) => child.exitCode !== null || child.signalCode !== null

async function end(child: ChildProcess): Promise<void> {
  if (hasEnded(child)) return
  const ended = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGKILL')
  await ended
}

/** A port that nobody listens on. */
export async function freePort(): Promise<number> {
  const probe = createServer()
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve))
  const { port } = probe.address() as AddressInfo
  await new Promise((resolve) => probe.close(resolve))
  return port
}
