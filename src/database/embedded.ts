import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ensureRunning, findPostmaster, initialise, stop, stopSync, urlOf, type Cluster } from './cluster.ts'
import { isAlive, thisProcess, withLock, withLockSync } from './process_lock.ts'
import { findHome, findPrograms, give, type Log } from './programs.ts'

/**
 * The PostgreSQL that the service brings along. Any number of processes share the one of a data directory: the first
 * starts it, the last stops it, and one that was killed counts as gone.
 *
 * Each user is a file named after its process. Who comes and who goes does so under one lock, so a server is never stopped
 * between somebody's look at it and their first connection.
 */
export type EmbeddedDatabase = {
  url: string
  version: string
  /** Stops the server if no other process uses it. */
  release(): Promise<void>
  /** The same for a process that is about to exit. */
  releaseSync(): void
}

/** Longer than anybody holds the lock, which is while PostgreSQL recovers from a crash. */
const LOCK_TIMEOUT_MS = 320_000
/** A process that is leaving does not wait for one that is starting: that one will use the server. */
const LEAVING_TIMEOUT_MS = 5000
/** How often a user looks whether the server still runs. */
const WATCH_INTERVAL_MS = 1000

let uses = 0

/**
 * Starts the embedded PostgreSQL of a data directory, or joins it if it runs already, and keeps it running until it is
 * released: a server that was killed is started again on the same port.
 *
 * @throws with what to do, if PostgreSQL can't run here
 */
export async function acquireEmbeddedDatabase(options: { data_dir: string; log: Log }): Promise<EmbeddedDatabase> {
  const home = findHome(options.data_dir, options.log)
  const programs = findPrograms(home)
  const cluster: Cluster = { dir: join(home.dir, 'cluster'), programs, account: home.account, durable: true }
  const lock = join(home.dir, 'lock')
  const users = join(home.dir, 'users')
  const user = join(users, `${thisProcess()}-${++uses}`)

  const port = await withLock(lock, LOCK_TIMEOUT_MS, async () => {
    await initialise(cluster)
    const running = await ensureRunning(cluster)
    mkdirSync(users, { recursive: true })
    give(users, home.account)
    writeFileSync(user, '')
    return running
  })
  const watch = keepRunning(cluster, { lock, port, log: options.log })
  let released = false

  // True if this was the last user.
  function leave(): boolean {
    rmSync(user, { force: true })
    return prune(users) === 0
  }

  return {
    url: urlOf(cluster, port),
    version: programs.version,
    async release() {
      if (released) return
      released = true
      await watch.stop()
      await withLock(lock, LEAVING_TIMEOUT_MS, async () => {
        if (leave() && !(await stop(cluster)))
          options.log.warn('PostgreSQL is still stopping; the next start waits for it')
      }).finally(leave)
    },
    releaseSync() {
      if (released) return
      released = true
      try {
        withLockSync(lock, LEAVING_TIMEOUT_MS, () => leave() && stopSync(cluster))
      } finally {
        leave()
      }
    },
  }
}

/** Removes the users that died without a word, and counts those that live. */
function prune(users: string): number {
  let living = 0
  for (const name of readdirSync(users)) {
    if (isAlive(name.slice(0, name.lastIndexOf('-')))) living++
    else rmSync(join(users, name), { force: true })
  }
  return living
}

function keepRunning(cluster: Cluster, options: { lock: string; port: number; log: Log }): { stop(): Promise<void> } {
  let reviving: Promise<void> | undefined
  let failure = ''
  const timer = setInterval(() => {
    if (reviving !== undefined || findPostmaster(cluster.dir) !== undefined) return
    reviving = revive(cluster, options)
      .then(() => (failure = ''))
      .catch((error: Error) => {
        if (error.message !== failure) options.log.warn(`PostgreSQL can't be started again: ${error.message}`)
        failure = error.message
      })
      .then(() => (reviving = undefined))
  }, WATCH_INTERVAL_MS)
  timer.unref()
  return {
    async stop() {
      clearInterval(timer)
      await reviving
    },
  }
}

async function revive(cluster: Cluster, { lock, port, log }: { lock: string; port: number; log: Log }): Promise<void> {
  await withLock(lock, LOCK_TIMEOUT_MS, async () => {
    if (findPostmaster(cluster.dir) !== undefined) return
    log.warn('PostgreSQL is gone; starting it again')
    // One attempt: the next look makes the next, and whoever releases the database need not wait for many.
    const got = await ensureRunning(cluster, 0)
    if (got !== port) throw new Error(`port ${port} was taken meanwhile, it runs on ${got}: restart the service`)
    log.info('PostgreSQL runs again')
  })
}
