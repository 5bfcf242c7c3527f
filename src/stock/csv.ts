import { CsvError, parse } from 'csv-parse'
import type { Knex } from 'knex'
import { createReadStream, type ReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { Readable, type Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { reading, transaction } from '../database/transaction.ts'
import {
  createStagedStock,
  finishStagedStock,
  insertStagedStock,
  selectLevelPage,
  selectStagedChanges,
  type StagedStock,
} from './queries.ts'
import { STOCK_MAX } from './schemas.ts'
import { setStockIn } from './set.ts'
import { skuFault } from './sku.ts'

/**
 * Stock as a CSV file of two columns, `sku` and `stock`, with a header. An import sets every count of the file or none:
 * the rows are checked and staged first, and only then the counters are locked, in SKU order.
 */

/** The first thing that is wrong with a file; nothing was written. Lines count from 1, the header. */
export type CsvFault = { line: number; message: string }

export type ImportSummary = { rows: number; created: number; changed: number; unchanged: number }

/** `read` counts bytes of the file, `write` SKUs. */
export type ImportProgress = { phase: 'read' | 'write'; done: number; total: number }

type ImportResult = { ok: true; value: ImportSummary } | { ok: false; fault: CsvFault }

/** Rows staged with one statement. */
const STAGE_SIZE = 5000
/** SKUs set with one statement, the bound of {@link setStockIn}. */
const WRITE_SIZE = 1000
const PAGE_SIZE = 5000

/** Twice the longest row there is; a quote that is never closed must not swallow the file. */
const RECORD_BYTES_MAX = 2048

/**
 * Sets the stock of all SKUs of a file, in one transaction. SKUs that have the count already are left alone. Those that
 * change stay locked until the end, so that buyers of these are refused meanwhile: 85 s for a million new ones,
 * after 26 s of reading (PostgreSQL 18, four shared cores).
 *
 * @throws if the file can't be read, and DatabaseUnavailable
 */
export async function importStock(
  db: Knex,
  path: string,
  onProgress: (progress: ImportProgress) => void = () => undefined,
): Promise<ImportResult> {
  const { size } = await stat(path)
  return transaction<ImportResult>(db, async (tx, rollback) => {
    await createStagedStock(tx)
    const staged = await stageFile(tx, path, (done) => onProgress({ phase: 'read', done, total: size }))
    if (!staged.ok) return rollback(staged)
    const { changes, repeated } = await finishStagedStock(tx)
    if (repeated) {
      const { sku, line, first_line } = repeated
      return rollback(faulty(line, `SKU ${sku} is in line ${first_line} already`))
    }
    const written = await writeStaged(tx, (done) => onProgress({ phase: 'write', done, total: changes }))
    if (!written.ok) return rollback(written)
    const { created, changed } = written
    return { ok: true, value: { rows: staged.rows, created, changed, unchanged: staged.rows - created - changed } }
  })
}

/**
 * Writes all SKUs and their stock in SKU order, so that an import of it gives the same again. Pages are read one after
 * another: a slow reader holds up nobody, and each row is true at the moment when its page was read.
 *
 * @returns how many SKUs
 */
export async function exportStock(db: Knex, sink: Writable): Promise<number> {
  let count = 0
  async function* lines(): AsyncGenerator<string> {
    yield 'sku,stock\n'
    for (let after: string | null = null; ;) {
      const page = await reading(() => selectLevelPage(db, { available: false, limit: PAGE_SIZE, after }))
      count += page.length
      if (page.length > 0) yield page.map(({ sku, stock }) => `${quoted(sku)},${stock}\n`).join('')
      if (page.length < PAGE_SIZE) return
      after = page.at(-1)!.sku
    }
  }
  // The caller's sink may be stdout, which is not ours to end.
  await pipeline(Readable.from(lines()), sink, { end: false })
  return count
}

async function stageFile(
  tx: Knex.Transaction,
  path: string,
  onBytes: (done: number) => void,
): Promise<{ ok: true; rows: number } | { ok: false; fault: CsvFault }> {
  const file = createReadStream(path)
  const { records, lastLine } = parseFile(file)
  let rows = 0
  let chunk: StagedStock[] = []
  let columns: Columns | undefined
  try {
    for await (const { record, line } of records) {
      if (columns === undefined) {
        columns = readHeader(record)
        if (!columns) return faulty(line, `the header must be "sku,stock", not ${JSON.stringify(record.join(','))}`)
        continue
      }
      const row = readRow(record, columns)
      if (typeof row === 'string') return faulty(line, row)
      rows += 1
      chunk.push({ ...row, line })
      if (chunk.length < STAGE_SIZE) continue
      await insertStagedStock(tx, chunk)
      chunk = []
      onBytes(file.bytesRead)
    }
  } catch (error) {
    if (error instanceof CsvError) return faulty(...describe(error, lastLine()))
    throw error
  } finally {
    file.destroy()
  }
  if (!columns) return faulty(1, 'the file is empty; its first line must be "sku,stock"')
  if (chunk.length > 0) await insertStagedStock(tx, chunk)
  onBytes(file.bytesRead)
  return { ok: true, rows }
}

/** The records of a file, each with the line on which it begins, and the line of the last one that could be parsed. */
function parseFile(file: ReadStream): {
  records: AsyncIterable<{ record: string[]; line: number }>
  lastLine: () => number
} {
  let line = 0
  const parser = file.pipe(
    parse({
      bom: true,
      relax_column_count: true,
      skip_empty_lines: true,
      record_delimiter: ['\r\n', '\n', '\r'],
      max_record_size: RECORD_BYTES_MAX,
      on_record(record: string[], { lines }) {
        // csv-parse counts the line breaks inside quotes too, and names the line on which a record ends.
        line = lines - record.join('').replaceAll(/[^\r\n]/g, '').length
        // What comes out is what this returns, but the types know no other shape than a record's.
        return { record, line } as unknown as string[]
      },
    }),
  )
  file.on('error', (error) => parser.destroy(error))
  return { records: parser, lastLine: () => line }
}

async function writeStaged(
  tx: Knex.Transaction,
  onRows: (done: number) => void,
): Promise<{ ok: true; created: number; changed: number } | { ok: false; fault: CsvFault }> {
  let created = 0
  let done = 0
  for (let after: string | null = null; ;) {
    const chunk: StagedStock[] = await selectStagedChanges(tx, { after, limit: WRITE_SIZE })
    if (chunk.length === 0) return { ok: true, created, changed: done - created }
    const result = await setStockIn(
      tx,
      chunk.map(({ sku, stock }) => ({ sku, stock })),
    )
    if (!result.ok) return refusedRow(result.refusal, chunk)
    created += result.value.created.length
    done += chunk.length
    after = chunk.at(-1)!.sku
    onRows(done)
  }
}

function refusedRow(
  refusal: { code: string; sku?: string; temp_reserved_stock?: number },
  chunk: readonly StagedStock[],
): { ok: false; fault: CsvFault } {
  const row = chunk.find(({ sku }) => sku === refusal.sku)
  if (!row || refusal.code !== 'stock_below_reserved') throw new Error(`an import was refused: ${refusal.code}`)
  return faulty(
    row.line,
    `stock ${row.stock} of SKU ${row.sku} is below the ${refusal.temp_reserved_stock} that are reserved`,
  )
}

type Columns = { sku: number; stock: number }

function readHeader(record: readonly string[]): Columns | undefined {
  const sku = record.indexOf('sku')
  const stock = record.indexOf('stock')
  return record.length === 2 && sku >= 0 && stock >= 0 ? { sku, stock } : undefined
}

/** A row's SKU and stock, or what is wrong with it. */
function readRow(record: readonly string[], columns: Columns): { sku: string; stock: number } | string {
  if (record.length !== 2) return `a row has 2 fields, sku and stock; this one has ${record.length}`
  const sku = record[columns.sku]!
  const digits = record[columns.stock]!
  const fault = skuFault(sku)
  if (fault) return fault
  const stock = /^\d{1,10}$/.test(digits) ? Number(digits) : NaN
  if (!(stock <= STOCK_MAX)) return `stock must be a whole number from 0 to ${STOCK_MAX}, not ${JSON.stringify(digits)}`
  return { sku, stock }
}

function describe(error: CsvError, last_good_line: number): [number, string] {
  const { code } = error
  if (code === 'CSV_QUOTE_NOT_CLOSED' || code === 'CSV_MAX_RECORD_SIZE') {
    return [last_good_line + 1, 'a quote is not closed, or the row is far too long']
  }
  const line = (error as { lines?: number }).lines ?? last_good_line + 1
  if (code === 'INVALID_OPENING_QUOTE' || code === 'CSV_INVALID_CLOSING_QUOTE') {
    return [line, 'a quote stands inside a field: quote the whole field and double the quotes in it']
  }
  return [line, error.message]
}

function quoted(field: string): string {
  return /[",\r\n]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field
}

function faulty(line: number, message: string): { ok: false; fault: CsvFault } {
  return { ok: false, fault: { line, message } }
}
