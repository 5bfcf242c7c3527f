import { isoTime } from '../iso_time.ts'
import type { Line, Reservation } from './reservation.ts'

/**
 * A reservation as JSON, in the contract's order. Put together by hand:
 * JSON.stringify takes longer, and this runs for every hold.
 *
 * @param lineJson what stands for each line
 */
export function reservationJson(reservation: Reservation, lineJson: (line: Line) => string = plainLine): string {
  const { lines, metadata, closed_at } = reservation
  return `{"id":"${reservation.id}","status":"${reservation.status}","lines":[${joined(lines, lineJson)}],"customer_id":${textJson(
    reservation.customer_id,
  )},"reference":${textJson(reservation.reference)},"metadata":${
    metadata === null ? 'null' : JSON.stringify(metadata)
  },"created_at":"${isoTime(reservation.created_at)}","expires_at":"${isoTime(reservation.expires_at)}","closed_at":${
    closed_at === null ? 'null' : `"${isoTime(closed_at)}"`
  },"release_reason":${textJson(reservation.release_reason)},"strategy":"${reservation.strategy}","ttl_variant":${textJson(
    reservation.ttl_variant,
  )}}`
}

function joined(lines: readonly Line[], lineJson: (line: Line) => string): string {
  let json = ''
  for (const line of lines) json += json === '' ? lineJson(line) : `,${lineJson(line)}`
  return json
}

function plainLine({ sku, quantity }: Line): string {
  return `{"sku":${JSON.stringify(sku)},"quantity":${quantity}}`
}

function textJson(text: string | null): string {
  return text === null ? 'null' : JSON.stringify(text)
}
