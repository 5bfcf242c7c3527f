import { spawn, type ChildProcess } from 'node:child_process'
import { createServer } from 'node:net'

/** Processes that the benchmark starts. None outlives it, however it ends: each is killed by its id. */

const children = new Set<ChildProcess>()

process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL')
})

export type Started = { child: ChildProcess; pid: number; ended: Promise<number | null> }

/**
 * Starts a program with an environment of its own.
 *
 * @param options.output a file descriptor for stdout, `pipe` to read it, or `ignore`
 */
export function start(
  file: string,
  args: readonly string[],
  options: { env?: Record<string, string>; output?: number | 'pipe' | 'ignore'; errors?: number | 'pipe' | 'inherit' },
): Started {
  const { env = {}, output = 'ignore', errors = 'inherit' } = options
  const child = spawn(file, args, { env, cwd: '/', stdio: ['ignore', output, errors] })
  children.add(child)
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', (error) => {
      children.delete(child)
      reject(error)
    })
    child.once('exit', (code) => {
      children.delete(child)
      resolve(code)
    })
  })
  // Whoever waits for it hears of a failure; nobody else need.
  ended.catch(() => undefined)
  return { child, pid: child.pid ?? 0, ended }
}

/** Asks a process to end, and makes it after `patience_ms`. */
export async function end({ child, ended }: Started, patience_ms = 10_000): Promise<void> {
  child.kill('SIGTERM')
  const limit = setTimeout(() => child.kill('SIGKILL'), patience_ms)
  await ended.catch(() => undefined)
  clearTimeout(limit)
}

/** A port of this machine that nobody listens on at the moment. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })
}
