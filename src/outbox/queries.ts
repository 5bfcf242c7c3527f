import { rows, type Executor } from '../database/transaction.ts'

/** Adds one transaction's events. */
export async function insertOutboxRow(
  db: Executor,
  row: { id: string; ordered_at: string | null; events: string; event_count: number },
): Promise<void> {
  await rows(
    db,
    `INSERT INTO outbox (id, ordered_at, events, event_count)
     VALUES (?::uuid, coalesce(?::timestamptz, clock_timestamp()), ?::json, ?)`,
    [row.id, row.ordered_at, row.events, row.event_count],
    { prepared: true },
  )
}

/** Takes the one row under which positions are given, or returns undefined while another job holds it. */
export async function lockPosition(db: Executor, wait: boolean): Promise<number | undefined> {
  const [row] = await rows<{ last_position: number }>(
    db,
    `SELECT last_position FROM outbox_position FOR UPDATE ${wait ? '' : 'SKIP LOCKED'}`,
  )
  return row?.last_position
}

/**
 * Gives the oldest committed rows without a position theirs, at most `limit` of them, and returns how many there were and
 * the last position. Runs under {@link lockPosition}, in a statement of its own: its snapshot must come after that lock.
 */
export async function assignPositions(
  db: Executor,
  from_position: number,
  limit: number,
): Promise<{ rows: number; last_position: number }> {
  const [row] = await rows<{ rows: number; last_position: number }>(
    db,
    `WITH next AS (
       SELECT id, ordered_at, event_count FROM outbox WHERE last_position IS NULL ORDER BY ordered_at, id LIMIT ?
     ), numbered AS (
       SELECT id, ?::bigint + sum(event_count) OVER (ORDER BY ordered_at, id ROWS UNBOUNDED PRECEDING) AS last_position
       FROM next
     ), given AS (
       UPDATE outbox o SET last_position = n.last_position FROM numbered n WHERE o.id = n.id
       RETURNING o.last_position
     ), remembered AS (
       UPDATE outbox_position SET last_position = (SELECT max(last_position) FROM given)
       WHERE EXISTS (SELECT 1 FROM given)
     )
     SELECT count(*) AS rows, coalesce(max(last_position), ?::bigint) AS last_position FROM given`,
    [limit, from_position, from_position],
  )
  return row ?? { rows: 0, last_position: from_position }
}

export type PositionedRow = {
  id: string
  last_position: number
  event_count: number
  ordered_at: Date
  events: { type: string; data: Record<string, unknown> }[]
}

/** The rows that hold the events after `after`, oldest first, until they cover `limit` events. */
export function selectPositioned(db: Executor, after: number, limit: number): Promise<PositionedRow[]> {
  return rows<PositionedRow>(
    db,
    `SELECT id, last_position, event_count, ordered_at, events FROM outbox
     WHERE last_position > ?
       AND last_position - event_count < ?::bigint + ?::bigint
     ORDER BY last_position LIMIT ?`,
    [after, after, limit, limit],
  )
}
