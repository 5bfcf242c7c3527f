import { SingleBar } from 'cli-progress'
import { InvalidArgumentError, type Command } from 'commander'
import { createWriteStream } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import { exportStock, importStock, type ImportProgress } from '../stock/csv.ts'
import { readLedger } from '../stock/ledger.ts'
import { readLevels, type Level } from '../stock/levels.ts'
import { STOCK_MAX } from '../stock/schemas.ts'
import { setStock } from '../stock/set.ts'
import { skuFault } from '../stock/sku.ts'
import { CommandError, EXIT, notes, print, printJson, withDatabase } from './run.ts'
import { table, when } from './table.ts'

const LEDGER_SHOWN = 10

/** `cli stock …` */
export function addStockCommands(program: Command): void {
  const stock = program.command('stock').description('read and set what is on hand')
  stock
    .command('import <file>')
    .description(
      'set the stock of all SKUs of a CSV file with the header sku,stock: all of them or none. SKUs that change ' +
        "can't be reserved until it ends, a minute and a half for a million",
    )
    .option('--json', 'print JSON')
    .action(importFile)
  stock
    .command('export [file]')
    .description('write all SKUs as a CSV file that can be imported again; to stdout without a file')
    .action(exportFile)
  stock
    .command('set <sku> <stock>')
    .description('set the stock of one SKU, and make it if it is new')
    .option('--json', 'print JSON')
    .action(set)
  stock
    .command('show <sku>')
    .description('the counters of one SKU and the end of its ledger')
    .option('--json', 'print JSON')
    .action(show)
}

async function importFile(file: string, { json }: { json?: boolean }): Promise<void> {
  const progress = createProgress()
  const result = await withDatabase((db) => importStock(db, file, progress.show)).finally(progress.stop)
  if (!result.ok)
    throw new CommandError(`${file} line ${result.fault.line}: ${result.fault.message}; nothing was imported`, EXIT.no)
  if (json) return printJson(result.value)
  const { rows, created, changed, unchanged } = result.value
  print(`${rows} SKUs: ${created} new, ${changed} changed, ${unchanged} as they were`)
}

/** A bar for a person who waits; a log file gets none. */
function createProgress(): { show: (progress: ImportProgress) => void; stop: () => void } {
  const bar = process.stderr.isTTY
    ? new SingleBar({
        format: '{phase} {bar} {percentage}% {eta_formatted} left',
        hideCursor: true,
        stream: process.stderr,
      })
    : undefined
  let current = ''
  return {
    show({ phase, done, total }) {
      if (phase !== current) {
        bar?.stop()
        bar?.start(total, done, { phase: phase === 'read' ? 'reading' : 'setting' })
        current = phase
      }
      bar?.update(done)
    },
    stop: () => bar?.stop(),
  }
}

async function exportFile(file: string | undefined): Promise<void> {
  if (file === undefined) {
    await withDatabase((db) => exportStock(db, process.stdout)).catch(ignoreClosedPipe)
    return
  }
  // An export that broke off must not look like a whole one.
  const partial = `${file}.partial`
  const sink = createWriteStream(partial)
  try {
    const count = await withDatabase((db) => exportStock(db, sink))
    await new Promise<void>((resolve, reject) =>
      sink.end((error?: Error | null) => (error ? reject(error) : resolve())),
    )
    await rename(partial, file)
    notes.warn(`${count} SKUs written to ${file}`)
  } catch (error) {
    sink.destroy()
    await rm(partial, { force: true })
    throw error
  }
}

/** `stock export | head` is no failure. */
function ignoreClosedPipe(error: unknown): void {
  if ((error as NodeJS.ErrnoException).code !== 'EPIPE') throw error
}

async function set(sku: string, count: string, { json }: { json?: boolean }): Promise<void> {
  const stock = wholeStock(count)
  const fault = skuFault(sku)
  if (fault) throw new CommandError(fault)
  const result = await withDatabase((db) => setStock(db, [{ sku, stock }]))
  if (result.ok) return printLevel(result.value.levels[0]!, json)
  const { refusal } = result
  throw new CommandError(
    refusal.code === 'stock_below_reserved'
      ? `${refusal.temp_reserved_stock} of ${sku} are reserved; its stock can't be set to ${stock}`
      : `refused: ${refusal.code}`,
    EXIT.no,
  )
}

async function show(sku: string, { json }: { json?: boolean }): Promise<void> {
  const [level, ledger] = await withDatabase(async (db) => [
    (await readLevels(db, [sku]))[0],
    (await readLedger(db, sku, { limit: LEDGER_SHOWN })) ?? [],
  ])
  if (!level) throw new CommandError(`there is no SKU ${sku}`, EXIT.no)
  if (json) return printJson({ ...level, ledger })
  printLevel(level)
  print('')
  print(
    table(
      ['seq', 'kind', 'stock', 'reserved', 'stock after', 'reserved after', 'reference', 'at'],
      ledger.map((entry) => [
        entry.seq,
        entry.kind,
        signed(entry.stock_delta),
        signed(entry.reserved_delta),
        entry.stock_after,
        entry.reserved_after,
        entry.reference ?? '-',
        when(entry.created_at),
      ]),
    ),
  )
}

function printLevel(level: Level, json?: boolean): void {
  if (json) return printJson(level)
  print(
    table(
      ['sku', 'stock', 'temp_reserved_stock', 'available', 'seq', 'updated'],
      [[level.sku, level.stock, level.temp_reserved_stock, level.available, level.seq, when(level.updated_at)]],
    ),
  )
}

function signed(delta: number): string {
  return delta > 0 ? `+${delta}` : String(delta)
}

function wholeStock(text: string): number {
  if (!/^\d{1,10}$/.test(text) || Number(text) > STOCK_MAX) {
    throw new InvalidArgumentError(`stock must be a whole number from 0 to ${STOCK_MAX}`)
  }
  return Number(text)
}
