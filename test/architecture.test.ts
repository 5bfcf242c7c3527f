import { readdirSync, readFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Holds the rules of how the rooms lie. Each is shown to catch what it forbids, then put to the source as it is. */

/** Files by their path under src/. */
type Tree = ReadonlyMap<string, string>

/** What breaks a rule: the file, and what it does. */
type Rule = (tree: Tree) => string[]

/** From what others build on to what builds on them. */
const STOREFRONT_FLOORS = [['catalog', 'customers', 'sales'], ['carts', 'coupons'], ['orders'], ['payments']]
const STOREFRONT = STOREFRONT_FLOORS.flat()

/** From the ground up: a room imports itself and rooms on lower floors, never a neighbour. */
const FLOORS: string[][] = [
  ['strategy_names', 'weights'],
  ['errors', 'config', 'tallies', 'iso_time', 'ids', 'log', 'schedule'],
  ['database', 'metrics', 'redis'],
  ['outbox', 'keys'],
  ['stock'],
  ['reservations'],
  ...STOREFRONT_FLOORS,
  ['operations'],
  ['http', 'lab', 'workers'],
  ['compose_storefront'],
  ['compose'],
  ['main', 'cli'],
]

/** The rooms that must never know who uses them. */
const CORE = ['database', 'outbox', 'stock', 'reservations']

/** Rooms that stand alone: nobody imports them, and they import nobody, but that the pages use the client. */
const APART = ['client', 'web']

/** What tells an operator in words which statement to run by hand; it runs none. */
const TELLS_SQL = ['operations/verify.ts', 'operations/verify_storefront.ts']

function roomOf(path: string): string {
  return path.split('/')[0]!.replace(/\.tsx?$/, '')
}

function fileOf(path: string): string {
  return posix.basename(path)
}

/** The code without its comments. */
function codeOf(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/(^|[\s;,{}()])\/\/.*$/gm, '$1')
}

/** What a file imports, exports again or loads later: packages as they are, files as paths under src/. */
function importsOf(path: string, text: string): string[] {
  const found = codeOf(text).matchAll(/(?:\bfrom|\bimport)\s*\(?\s*['"]([^'"]+)['"]/g)
  return Array.from(found, ([, target]) => target!).map((target) =>
    target.startsWith('.') ? posix.join(posix.dirname(path), target) : target,
  )
}

/** A rule on each file's imports: names what is wrong with one, or nothing. */
function onImports(wrong: (path: string, target: string) => boolean): Rule {
  return (tree) =>
    [...tree].flatMap(([path, text]) =>
      importsOf(path, text)
        .filter((target) => wrong(path, target))
        .map((target) => `${path} imports ${target}`),
    )
}

/** A rule on each file's code: whatever matches is wrong. */
function onCode(pattern: RegExp, applies: (path: string) => boolean): Rule {
  return (tree) =>
    [...tree]
      .filter(([path]) => applies(path))
      .flatMap(([path, text]) => Array.from(codeOf(text).matchAll(pattern), ([match]) => `${path}: ${match.trim()}`))
}

function floorOf(room: string): number {
  return FLOORS.findIndex((rooms) => rooms.includes(room))
}

/** What the lab compares is served by programs of their own, as main.ts is one; a simulation runs the core in its own process. */
const isProgram = (path: string): boolean => /^lab\/\w+\/servers\//.test(path) || path === 'lab/simulate/main.ts'
const isPackage = (target: string): boolean => !/\.tsx?$/.test(target)
const isDoor = (path: string): boolean => ['routes.ts', 'schemas.ts'].includes(fileOf(path))
const writesSql = (path: string): boolean =>
  fileOf(path) === 'queries.ts' || path.includes('/strategies/') || ['database', 'lab', ...APART].includes(roomOf(path))
const isGenerated = (path: string): boolean => APART.includes(roomOf(path))

const RULES = {
  'imports run one way, from the house to the ground': onImports((path, target) => {
    if (isPackage(target) || roomOf(target) === roomOf(path)) return false
    if (isDoor(path) && roomOf(target) === 'http') return false
    if (roomOf(path) === 'web' && roomOf(target) === 'client') return false
    const [from, to] = [floorOf(isProgram(path) ? 'main' : roomOf(path)), floorOf(roomOf(target))]
    return from < 0 || to < 0 || to >= from
  }),
  'every room has its place': (tree) =>
    [...new Set(Array.from(tree.keys(), roomOf))].filter((room) => floorOf(room) < 0 && !APART.includes(room)),
  'the core never imports the storefront': onImports(
    (path, target) => CORE.includes(roomOf(path)) && STOREFRONT.includes(roomOf(target)) && !isPackage(target),
  ),
  'only routes.ts and http/ know Koa': onImports(
    (path, target) =>
      /^@?koa([/-]|$)/.test(target) &&
      !['http', 'web'].includes(roomOf(path)) &&
      fileOf(path) !== 'routes.ts' &&
      !isProgram(path),
  ),
  'only queries.ts, strategies/ and database/ write SQL': (tree) => [
    ...onCode(
      /\b(SELECT|INSERT INTO|DELETE FROM|UPDATE \w+ |TRUNCATE|(CREATE|ALTER|DROP|LOCK) (TABLE|INDEX|DATABASE))\b.*/g,
      (path) => !writesSql(path) && !TELLS_SQL.includes(path),
    )(tree),
    ...onCode(/\.raw\(.*|\b(db|tx|knex)\(\s*['"`].*/g, (path) => !writesSql(path))(tree),
  ],
  'only config.ts reads process.env': onCode(
    /process\s*\.\s*env\b|process\[['"]env['"]\]/g,
    (path) => path !== 'config.ts',
  ),
  'only http/ knows which status a refusal has; routes.ts name that of a success': (tree) => [
    ...onCode(
      /\b(status|status_?code)\b['"]?\s*[:=]+\s*[1-5]\d\d\b|\banswer\(\s*[1-5]\d\d\b|\bwriteHead\(/gi,
      (path) => {
        return !['http', 'cli', 'operations', 'lab'].includes(roomOf(path)) && !isDoor(path) && !isGenerated(path)
      },
    )(tree),
    ...onCode(/\b(status|status_?code)\b['"]?\s*[:=]+\s*[45]\d\d\b|\banswer\(\s*[45]\d\d\b/gi, isDoor)(tree),
  ],
  'only compose.ts and its part for the storefront wire rooms': onCode(
    /(?<!function )\b(createReservations|createSweeper|createPositioner|createApp|createAuthenticator|createLevelReader|createCouponIssuer|createTransact|createPursuer|createStripeGateway|createDevelopmentGateway|guardGateway)\(/g,
    (path) => !['compose.ts', 'compose_storefront.ts'].includes(path),
  ),
  'there are no default exports': onCode(/\bexport\s+(default\b|\{[^}]*\bas default\b).*/g, () => true),
  'there are no barrels': (tree) =>
    [...tree]
      .filter(([, text]) => {
        const left = codeOf(text).replaceAll(
          /\bexport\s+(type\s+)?(\*|\{[^}]*\})(\s+as\s+\w+)?\s+from\s+['"][^'"]+['"];?/g,
          '',
        )
        return left !== codeOf(text) && left.trim() === ''
      })
      .map(([path]) => path)
      .concat(onCode(/\bexport\s+\*.*/g, () => true)(tree)),
  'no file or folder is called utils, common, helpers, services or types': (tree) =>
    [...tree.keys()].filter((path) => /(^|\/)(utils?|common|helpers?|services|types?|index)(\/|\.tsx?$)/.test(path)),
  'no file of the core is longer than 400 lines': (tree) =>
    [...tree].flatMap(([path, text]) => {
      const lines = text.split('\n').length - 1
      return CORE.includes(roomOf(path)) && lines > 400 ? [`${path}: ${lines} lines`] : []
    }),
} satisfies Record<string, Rule>

/** What each rule must catch, each in a file of its own, and what it must let pass. */
const FIXTURES: Record<keyof typeof RULES, { wrong: Record<string, string>; right: Record<string, string> }> = {
  'imports run one way, from the house to the ground': {
    wrong: {
      'database/pool.ts': `import { x } from '../stock/levels.ts'`,
      'stock/levels.ts': `import type { Reservation } from '../reservations/reservation.ts'`,
      'outbox/read.ts': `export { x } from '../stock/levels.ts'`,
      'reservations/expire.ts': `import { answer } from '../http/route.ts'`,
      'reservations/routes.ts': `import { compose } from '../compose.ts'`,
      'keys/keys.ts': `const { x } = await import('../outbox/read.ts')`,
      'config.ts': `import { createPool } from './database/pool.ts'`,
      'lab/bench/run.ts': `import { compose } from '../../compose.ts'`,
      'lab/simulate/simulation.ts': `import { compose } from '../../compose.ts'`,
      'web/shop/cart.tsx': `import { addToCart } from '../../carts/carts.ts'`,
      'http/pages.ts': `import { Cart } from '../web/shop/cart.tsx'`,
    },
    right: {
      'stock/set.ts': `import { x } from '../database/pool.ts'\nimport { y } from './levels.ts'\nimport knex from 'knex'`,
      'reservations/schemas.ts': `import { x } from '../http/route.ts'\nimport { y } from '../stock/schemas.ts'`,
      'http/app.ts': `import { x } from '../reservations/routes.ts'`,
      'orders/orders.ts': `import { x } from '../reservations/reservations.ts'`,
      'web/shop/cart.tsx': `import { createClient } from '../../client/client.ts'\nimport { x } from './line.tsx'`,
      'main.ts': `import { x } from './compose.ts' // not from './nowhere.ts'`,
      'lab/compare/servers/service.ts': `import { compose } from '../../../compose.ts'`,
      'lab/bench/servers/service.ts': `import { compose } from '../../../compose.ts'`,
      'lab/simulate/main.ts': `import { compose } from '../../compose.ts'`,
    },
  },
  'every room has its place': {
    wrong: { 'shed/tools.ts': '' },
    right: { 'stock/set.ts': '', 'main.ts': '', 'client/client.ts': '' },
  },
  'the core never imports the storefront': {
    wrong: {
      'reservations/hooks.ts': `import type { Order } from '../orders/orders.ts'`,
      'stock/set.ts': `import { x } from '../catalog/products.ts'`,
    },
    right: { 'orders/orders.ts': `import { x } from '../stock/levels.ts'` },
  },
  'only routes.ts and http/ know Koa': {
    wrong: {
      'stock/set.ts': `import type { Context } from 'koa'`,
      'reservations/schemas.ts': `import Router from '@koa/router'`,
      'compose.ts': `import helmet from 'koa-helmet'`,
    },
    right: {
      'http/middleware/measure.ts': `import type { Middleware } from 'koa'`,
      'stock/routes.ts': `import type { Context } from 'koa'`,
      'stock/set.ts': `import { x } from 'koala'`,
    },
  },
  'only queries.ts, strategies/ and database/ write SQL': {
    wrong: {
      'stock/set.ts': `await rows(db, \`SELECT 1 FROM stock\`)`,
      'reservations/expire.ts': `await rows(db, 'UPDATE stock SET stock = 1')`,
      'outbox/read.ts': `await db.raw(sql)`,
      'keys/keys.ts': `await db('api_keys').insert(row)`,
    },
    right: {
      'stock/queries.ts': 'rows(db, `SELECT 1`)',
      'reservations/strategies/conditional.ts': 'rows(db, `UPDATE stock SET stock = 1`)',
      'database/transaction.ts': 'db.raw(sql)',
      'reservations/flight.ts': '/** SELECT … */ // UPDATE stock SET\nconst selected = update(rows)',
    },
  },
  'only config.ts reads process.env': {
    wrong: { 'main.ts': `const port = process.env.PORT`, 'database/open.ts': `process.env['DATABASE_URL']` },
    right: { 'config.ts': `process.env`, 'main.ts': `/** process.env */ process.exit(0)` },
  },
  'only http/ knows which status a refusal has; routes.ts name that of a success': {
    wrong: {
      'reservations/flight.ts': `return { status: 409 }`,
      'stock/routes.ts': `return answer(404, body)`,
      'stock/set.ts': `ctx.status = 200`,
    },
    right: {
      'http/problem.ts': `{ status: 409 }`,
      'stock/routes.ts': `responses: { 201: x }, handle: () => answer(201, body)`,
      'reservations/plan.ts': `{ status: 'confirmed', batch_size_max: 300 }`,
    },
  },
  'only compose.ts and its part for the storefront wire rooms': {
    wrong: { 'main.ts': `const { reserve } = createReservations({})`, 'http/app.ts': `createSweeper({})` },
    right: {
      'compose.ts': `createReservations({})`,
      'reservations/sweeper.ts': `export function createSweeper(deps) {}`,
    },
  },
  'there are no default exports': {
    wrong: { 'a.ts': `export default function x() {}`, 'b.ts': `export { x as default }` },
    right: { 'c.ts': `export function standard() {} // no export default` },
  },
  'there are no barrels': {
    wrong: {
      'stock/all.ts': `export { a } from './set.ts'\nexport type { B } from './adjust.ts'`,
      'stock/more.ts': `export * from './set.ts'\nexport const x = 1`,
    },
    right: { 'stock/set.ts': `export { a } from './adjust.ts'\nexport function b() {}`, 'stock/none.ts': '' },
  },
  'no file or folder is called utils, common, helpers, services or types': {
    wrong: { 'utils/date.ts': '', 'stock/helpers.ts': '', 'reservations/types.ts': '', 'http/index.ts': '' },
    right: { 'stock/counters.ts': '', 'http/prototypes.ts': '' },
  },
  'no file of the core is longer than 400 lines': {
    wrong: { 'stock/long.ts': '\n'.repeat(401) },
    right: { 'stock/short.ts': '\n'.repeat(400), 'http/long.ts': '\n'.repeat(401) },
  },
}

function readSource(): Tree {
  const root = fileURLToPath(new URL('../src/', import.meta.url))
  const paths = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((path) => /\.tsx?$/.test(path))
  return new Map(paths.map((path) => [path.replaceAll('\\', '/'), readFileSync(join(root, path), 'utf8')]))
}

const source = readSource()

describe.each(Object.keys(RULES) as (keyof typeof RULES)[])('%s', (name) => {
  const rule: Rule = RULES[name]

  test.each(Object.entries(FIXTURES[name].wrong))('a %s that breaks it is found', (path, text) => {
    expect(rule(new Map([[path, text]]))).not.toEqual([])
  })

  test('what keeps it passes', () => {
    expect(rule(new Map(Object.entries(FIXTURES[name].right)))).toEqual([])
  })

  test('the source keeps it', () => {
    expect(rule(source)).toEqual([])
  })
})

test('the source was found, with its rooms', () => {
  const rooms = new Set(Array.from(source.keys(), roomOf))
  expect([...rooms]).toEqual(expect.arrayContaining([...CORE, 'http', 'compose', 'main', 'config']))
})
