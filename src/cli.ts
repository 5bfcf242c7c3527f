import { runCommand } from './cli/program.ts'

/** The command line: parses, then calls a room. */

const FIRST_WORD = 2

// "| head" closes stdout early; that is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
})

process.exitCode = await runCommand(process.argv.slice(FIRST_WORD))
