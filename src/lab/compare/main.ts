import { runCompare } from './compare.ts'
import { tellContenders } from './contenders.ts'
import { checkFiles } from './files.ts'
import { readOptions, USAGE, withoutFiles, type Ask, type Options } from './options.ts'
import { findRedis } from './redis.ts'

/** npm run compare: every way to win the race, side by side. */

/** What a shell expects of a program that a signal ended. The exit takes everything along that was started. */
process.once('SIGINT', () => process.exit(130))
process.once('SIGTERM', () => process.exit(143))

const args = process.argv.slice(2)

function chosen(): Options | Ask | undefined {
  try {
    const read = readOptions(args)
    if (typeof read === 'object') checkFiles(read)
    return read
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`)
    return undefined
  }
}

/** One line that is written over, for whoever waits; nothing where the output goes into a file. */
function progress(doing: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001B[K${doing}`)
}

const options = chosen()
if (options === undefined) {
  process.exitCode = 2
} else if (options === 'help') {
  process.stdout.write(USAGE)
} else if (options === 'list') {
  process.stdout.write(`${tellContenders(await findRedis())}\n`)
} else {
  const flags = withoutFiles(args)
  const command = ['npm run compare', ...(flags.length > 0 ? ['--', ...flags] : [])].join(' ')
  const report = await runCompare(options, { command, say: (text) => void process.stdout.write(`${text}\n`), progress })
  process.exit(report.sections.some(({ faults }) => faults.length > 0) ? 1 : 0)
}
