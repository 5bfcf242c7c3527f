// Compiles src, migrations and seeds into dist/, and bundles the pages into dist/web/. dist is emptied first: a file
// renamed in src must not live on there.
import { rmSync } from 'node:fs'
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { buildPages } from './build_pages.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
rmSync(new URL('../dist', import.meta.url), { recursive: true, force: true })
const { status } = spawnSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json'], {
  cwd: root,
  stdio: 'inherit',
})
if (status === 0) await buildPages()
process.exit(status ?? 1)
