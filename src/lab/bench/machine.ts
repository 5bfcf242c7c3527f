import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from 'node:fs'
import { cpus, loadavg, release, totalmem } from 'node:os'
import { join } from 'node:path'
import { median } from './series.ts'

/** What the numbers were measured on. */
export type Machine = {
  processor: string
  cores: number
  memory: string
  kernel: string
  node: string
  postgresql: string
  pgbench: string
  /** Writing 8 KiB and waiting until the disk has them. */
  fdatasync: string
  /** Processes that wanted a core in the minute before; above a few tenths something else is running. */
  load_before: string
}

const SYNCS = 200
const PAGE_BYTES = 8192

/** @param dir a folder on the disk where PostgreSQL's data is */
export function describeMachine(dir: string, versions: { postgresql: string; pgbench: string }): Machine {
  const sync = timeSync(dir)
  return {
    processor: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memory: `${(totalmem() / 2 ** 30).toFixed(1)} GiB`,
    kernel: release(),
    node: process.version,
    ...versions,
    fdatasync: `${sync.toFixed(2)} ms for 8 KiB (median of ${SYNCS})`,
    load_before: loadavg()[0]!.toFixed(2),
  }
}

function timeSync(dir: string): number {
  const path = join(dir, 'fdatasync')
  const file = openSync(path, 'w')
  const page = Buffer.alloc(PAGE_BYTES, 1)
  const times = Array.from({ length: SYNCS }, () => {
    // The same place again and again, as in a WAL segment that is there already.
    writeSync(file, page, 0, PAGE_BYTES, 0)
    const started = performance.now()
    fdatasyncSync(file)
    return performance.now() - started
  })
  closeSync(file)
  rmSync(path)
  return median(times)
}
