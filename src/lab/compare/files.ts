import { accessSync, constants, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { svgOf } from './chart.ts'
import type { Options } from './options.ts'
import { markdownOf, type Report } from './report.ts'

/** Where a report goes. A document keeps what stands around its place. */

type Files = Pick<Options, 'json' | 'markdown' | 'section' | 'svg'>

/**
 * Before the work of minutes.
 *
 * @throws in words if a file could not be written when it is done
 */
export function checkFiles({ json, markdown, section, svg }: Files): void {
  for (const file of [json, markdown, svg]) {
    if (file === undefined) continue
    try {
      accessSync(existsSync(file) ? file : dirname(file), constants.W_OK)
    } catch {
      throw new Error(`${file} can't be written`)
    }
  }
  if (markdown !== undefined) placed(markdown, section, '')
}

export function writeReport(report: Report, { json, markdown, section, svg }: Files): void {
  if (json !== undefined) writeFileSync(json, `${JSON.stringify(report, null, 2)}\n`)
  if (svg !== undefined) writeFileSync(svg, svgOf(report))
  if (markdown !== undefined) writeFileSync(markdown, placed(markdown, section, markdownOf(report)))
}

/** The file with the text in its place; the text alone where the file has no places. */
function placed(file: string, section: string, text: string): string {
  const document = existsSync(file) ? readFileSync(file, 'utf8') : ''
  const replaced = replacePlace(document, section, text)
  if (replaced !== undefined) return replaced
  // A document is written by people: nothing of it may be lost to a wrong name.
  if (/<!-- compare [\w-]+ -->/.test(document)) {
    throw new Error(`${file} has no place <!-- compare ${section} --> … <!-- /compare ${section} -->`)
  }
  return text
}

/**
 * A document with what stands between `<!-- compare NAME -->` and `<!-- /compare NAME -->` replaced.
 *
 * @returns undefined if it has no such place
 */
export function replacePlace(document: string, name: string, text: string): string | undefined {
  const [begin, end] = [`<!-- compare ${name} -->`, `<!-- /compare ${name} -->`]
  const from = document.indexOf(begin)
  const to = document.indexOf(end, from)
  if (from < 0 || to < 0) return undefined
  return `${document.slice(0, from + begin.length)}\n\n${text}\n${document.slice(to)}`
}
