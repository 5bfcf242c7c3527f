import { InvalidArgumentError, type Command } from 'commander'
import {
  createKey,
  listKeys,
  OVERLAP_MAX_SECONDS,
  OVERLAP_SECONDS,
  revokeKey,
  rotateKey,
  SCOPES,
  type KeyRefusal,
  type KeyResult,
} from '../keys/keys.ts'
import { CommandError, EXIT, notes, print, printJson, withDatabase } from './run.ts'
import { span, table, when } from './table.ts'

/** `cli keys …`: a secret goes to stdout alone, so that a script can keep it: `KEY=$(npm run -s cli -- keys create …)`. */
export function addKeyCommands(program: Command): void {
  const keys = program.command('keys').description('make, list, rotate and revoke API keys')
  keys
    .command('create')
    .description('make a key; its secret is shown once. The first key ever closes the service to everybody without one')
    .requiredOption('--name <name>', 'who will use it: 1-64 of a-z 0-9 . _ -')
    .requiredOption('--scopes <scopes>', `what it may do, separated by commas: ${SCOPES.join(', ')}`, splitList)
    .option('--json', 'print JSON')
    .action(create)
  keys.command('list').description('all keys, without their secrets').option('--json', 'print JSON').action(list)
  keys
    .command('rotate <name>')
    .description('give a key a new secret; the old one lives on for a while')
    .option('--overlap-seconds <seconds>', 'how long the old secret lives on', wholeSeconds, OVERLAP_SECONDS)
    .option('--json', 'print JSON')
    .action(rotate)
  keys
    .command('revoke <name>')
    .description('end a key for good, everywhere within 5 s; its name stays taken')
    .option('--json', 'print JSON')
    .action(revoke)
}

async function create(options: { name: string; scopes: string[]; json?: boolean }): Promise<void> {
  const issued = accepted(await withDatabase((db) => createKey(db, options)), options.name)
  if (options.json) return printJson(issued)
  notes.warn(`key ${issued.name} (${issued.scopes.join(', ')}); its secret is shown this once:`)
  print(issued.secret)
}

async function list({ json }: { json?: boolean }): Promise<void> {
  const keys = await withDatabase(listKeys)
  if (json) return printJson(keys)
  if (keys.length === 0) return print('no keys yet: the service is open to everybody on this machine')
  print(
    table(
      ['name', 'scopes', 'created', 'newest secret', 'old secret ends', 'revoked'],
      keys.map((key) => [
        key.name,
        key.scopes.join(','),
        when(key.created_at),
        when(key.rotated_at),
        when(key.old_secret_ends_at),
        when(key.revoked_at),
      ]),
    ),
  )
}

async function rotate(name: string, options: { overlapSeconds: number; json?: boolean }): Promise<void> {
  const { overlapSeconds: overlap_seconds } = options
  const issued = accepted(await withDatabase((db) => rotateKey(db, name, { overlap_seconds })), name)
  if (options.json) return printJson(issued)
  notes.warn(
    `key ${name}: the old secret ends at ${when(issued.old_secrets_end_at)} (in ${span(overlap_seconds)}); ` +
      'the new one is shown this once:',
  )
  print(issued.secret)
}

async function revoke(name: string, { json }: { json?: boolean }): Promise<void> {
  const revoked = accepted(await withDatabase((db) => revokeKey(db, name)), name)
  if (json) return printJson(revoked)
  print(`key ${name} was revoked at ${when(revoked.revoked_at)}; the service refuses it within 5 s`)
}

function accepted<T>(result: KeyResult<T>, name: string): T {
  if (result.ok) return result.value
  throw new CommandError(explain(result.refusal, name), EXIT.no)
}

function explain(refusal: KeyRefusal, name: string): string {
  switch (refusal) {
    case 'key_name_invalid':
      return "a key's name has 1-64 of a-z 0-9 . _ -"
    case 'key_name_reserved':
      return `${name} is the key of BOOTSTRAP_API_KEY: change that variable and restart the service`
    case 'key_name_taken':
      return `there is a key ${name} already, or was: names are never given again, because idempotency keys belong to them`
    case 'key_scopes_invalid':
      return `scopes are one or more of ${SCOPES.join(', ')}`
    case 'key_overlap_invalid':
      return `an overlap is 0 to ${OVERLAP_MAX_SECONDS} whole seconds`
    case 'key_not_found':
      return `there is no key ${name}`
    case 'key_revoked':
      return `key ${name} was revoked, which is final: make another one`
  }
}

function splitList(text: string): string[] {
  return text.split(',').map((word) => word.trim())
}

function wholeSeconds(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('It must be a whole number of seconds.')
  return Number(text)
}
