// Runs the suites that take minutes (races between processes, crashes), one after another. Names given as arguments
// choose among them: npm run test:long -- crash
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const folder = new URL('../test/long/', import.meta.url)
const wanted = process.argv.slice(2)
const files = (existsSync(folder) ? readdirSync(folder) : [])
  .filter((file) => file.endsWith('.long.ts'))
  .filter((file) => wanted.length === 0 || wanted.some((name) => file.includes(name)))
  .toSorted()

const failed = files.filter((file) => {
  const started = Date.now()
  console.log(`\n${file}`)
  const { status } = spawnSync(process.execPath, ['--import', 'tsx', fileURLToPath(new URL(file, folder))], {
    cwd: fileURLToPath(new URL('..', import.meta.url)),
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  console.log(`${status === 0 ? 'PASS' : 'FAIL'} ${file} (${((Date.now() - started) / 1000).toFixed(1)} s)`)
  return status !== 0
})

console.log(`\nLong suites: ${files.length - failed.length} passed, ${failed.length} failed, ${files.length} in all`)
process.exit(failed.length === 0 ? 0 : 1)
