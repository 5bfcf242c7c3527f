import { resolve } from 'node:path'
import { parseArgs } from 'node:util'

/** The command line of the benchmark. */
export type Options = {
  quick: boolean
  /** The goals to run, all if empty. */
  only: number[]
  json: string | undefined
  baseline: string | undefined
  profile: string | undefined
  /** How many minutes a run may wait in all while the host gives the processors to others. */
  patience: number
}

export const USAGE = `npm run bench [-- --quick] [--only 1,4] [--json FILE] [--baseline FILE] [--profile DIR] [--patience MINUTES]

  --quick          a few minutes for all goals; shorter, fewer rounds, smaller tables
  --only 1,4       these goals alone
  --json FILE      writes what was measured
  --baseline FILE  compares with such a file of an earlier run
  --profile DIR    Node's processor profiles of the services, one for each process
  --patience MINUTES
                   waits so long, in all, while the host gives the processors to others; 0 unless said
`
const PATIENCE_MAX = 1440

/** @throws with what is wrong, in one line */
export function readOptions(args: readonly string[], goals: readonly number[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: 'boolean', default: false },
      only: { type: 'string' },
      json: { type: 'string' },
      baseline: { type: 'string' },
      profile: { type: 'string' },
      patience: { type: 'string', default: '0' },
    },
  })
  const only = values.only === undefined ? [] : values.only.split(',').map(Number)
  const unknown = only.filter((id) => !goals.includes(id))
  if (unknown.length > 0) throw new Error(`--only takes goals from ${goals[0]} to ${goals.at(-1)}, such as --only 1,4`)
  const patience = Number(values.patience)
  if (!(patience >= 0 && patience <= PATIENCE_MAX)) throw new Error(`--patience takes 0 to ${PATIENCE_MAX} minutes`)
  const { quick, json, baseline } = values
  // The servers run elsewhere.
  const profile = values.profile === undefined ? undefined : resolve(values.profile)
  return { quick, only, json, baseline, profile, patience }
}
