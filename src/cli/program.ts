import { isNativeError } from 'node:util/types'
import { Command, CommanderError, InvalidArgumentError } from 'commander'
import { addKeyCommands } from './keys.ts'
import { addOperationCommands } from './operations.ts'
import { addPaymentCommands } from './payments.ts'
import { addRedisCommands } from './redis.ts'
import { addReportCommands } from './reports.ts'
import { addReservationCommands } from './reservations.ts'
import { CommandEnd, CommandError, EXIT } from './run.ts'
import { addStockCommands } from './stock.ts'
import { ConfigError } from '../config.ts'
import { isLockTimeout, isUnavailable } from '../database/sqlstate.ts'
import { DatabaseUnavailable } from '../errors.ts'
import { RedisUnavailable } from '../redis/connection.ts'

const HELP = `
Exit codes:
  0  done, or all is well
  1  the answer is no: verify found something, status knows something to do, a file or a name was refused
  2  it could not be done: wrong usage or settings, a database that does not answer, a schema that is too old

The database is the one of DATABASE_URL, or the embedded one under DATA_DIR, as for the service.`

/**
 * Runs one command line and prints its answer.
 *
 * @param words what stands after the program's name
 * @returns the exit code, see {@link EXIT}
 */
export async function runCommand(words: readonly string[]): Promise<number> {
  const program = createProgram()
  overrideExits(program)
  try {
    await program.parseAsync([...words], { from: 'user' })
    return EXIT.done
  } catch (error) {
    return report(error)
  }
}

/** All commands, none of which has run. */
export function createProgram(): Command {
  const program = new Command('cli')
    .description('Looks after the stock reservation service. npm run cli -- <command>')
    .addHelpText('after', HELP)
    .showHelpAfterError('(--help shows what there is)')
    .exitOverride()
  addStockCommands(program)
  addReservationCommands(program)
  addKeyCommands(program)
  addOperationCommands(program)
  addPaymentCommands(program)
  addRedisCommands(program)
  addReportCommands(program)
  return program
}

/** Wrong usage ends a subcommand through runCommand, so that its exit code is ours. */
function overrideExits(command: Command): void {
  for (const subcommand of command.commands) {
    subcommand.exitOverride()
    overrideExits(subcommand)
  }
}

function report(error: unknown): number {
  if (error instanceof InvalidArgumentError) return say(error.message)
  // commander has printed its own message, or the help that was asked for.
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.failed
  if (error instanceof CommandEnd) return error.exit_code
  if (error instanceof CommandError) return say(error.message, error.exit_code)
  if (error instanceof ConfigError) return say(error.message)
  // Before the database: a file that is missing and a socket that is missing have one code.
  if (isFileError(error)) return say(error.message)
  if (error instanceof DatabaseUnavailable && error.outcome === 'unknown') {
    return say(
      'the connection broke while the change was committed, so it may or may not be done: look before you retry',
    )
  }
  if (error instanceof DatabaseUnavailable || isUnavailable(error)) {
    return say(`the database does not answer (${reason(error)}); npm run cli -- status says more`)
  }
  if (error instanceof RedisUnavailable) return say(error.message)
  if (isLockTimeout(error)) {
    return say('another session holds a row that is needed; nothing was changed. npm run cli -- status names it')
  }
  // These are bugs, whose place matters; the others were thrown to be read.
  if (error instanceof TypeError || error instanceof ReferenceError) return say(String(error.stack))
  return say(isNativeError(error) ? error.message : String(error))
}

function say(message: string, exit_code: number = EXIT.failed): number {
  process.stderr.write(`${message}\n`)
  return exit_code
}

function reason(error: unknown): string {
  const { cause } = error as Error
  const innermost = cause instanceof AggregateError ? cause.errors[0] : (cause ?? error)
  return isNativeError(innermost) ? innermost.message || innermost.name : String(innermost)
}

function isFileError(error: unknown): error is NodeJS.ErrnoException {
  return isNativeError(error) && 'syscall' in error && 'path' in error
}
