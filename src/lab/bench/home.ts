import { join } from 'node:path'
import { openPostgres, ROOT } from '../postgres.ts'
import { end, start } from './children.ts'

/**
 * Where a run lives: a folder of its own with a build of the sources as they were when it began and a PostgreSQL of its
 * own, both gone with it.
 */

export type BenchHome = {
  dir: string
  /** Compiled sources; what is measured runs from here. */
  build: string
  /** The folder of PostgreSQL's data, for timing its disk. */
  data: string
  /** A maintenance database. */
  url: string
  postgres_version: string
  close(): Promise<void>
}

/**
 * Builds, and starts PostgreSQL with fsync, full_page_writes and synchronous_commit on.
 *
 * @param options.preload libraries that the server loads when it starts
 */
export async function openHome(options: { preload?: string } = {}): Promise<BenchHome> {
  const prepare = (dir: string): Promise<void> => compile(join(dir, 'build'))
  const postgres = await openPostgres('bench', { prepare, preload: options.preload })
  const { dir, data, version } = postgres
  return {
    dir,
    build: join(dir, 'build'),
    data,
    url: postgres.urlOf('postgres'),
    postgres_version: version,
    close: () => postgres.close(),
  }
}

async function compile(build: string): Promise<void> {
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
  const project = join(ROOT, 'tsconfig.build.json')
  const args = [tsc, '-p', project, '--outDir', build, '--declaration', 'false', '--sourceMap', 'false']
  const compiled = start(process.execPath, args, { output: 'pipe' })
  let said = ''
  compiled.child.stdout?.on('data', (chunk: Buffer) => (said += chunk.toString()))
  if ((await compiled.ended) !== 0) throw new Error(`the sources do not compile:\n${said.trim()}`)
}

/** Runs a program to its end and returns what it printed. @throws if it fails or takes longer than `limit_ms` */
export async function capture(
  file: string,
  args: readonly string[],
  options: { env?: Record<string, string>; limit_ms: number },
): Promise<string> {
  const running = start(file, args, { env: options.env ?? {}, output: 'pipe', errors: 'pipe' })
  let said = ''
  let complained = ''
  running.child.stdout?.on('data', (chunk: Buffer) => (said += chunk.toString()))
  running.child.stderr?.on('data', (chunk: Buffer) => (complained += chunk.toString()))
  const limit = setTimeout(() => void end(running, 1000), options.limit_ms)
  const code = await running.ended
  clearTimeout(limit)
  if (code !== 0) throw new Error(`${file} ended with ${code}: ${complained.trim().slice(-2000)}`)
  return said
}
