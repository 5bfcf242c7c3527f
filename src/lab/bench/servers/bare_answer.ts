/** What the bare servers answer: as long as a reservation of one line, and naming the first SKU like one. */
export const BARE_ANSWER =
  '{"id":"019a0000-0000-7000-8000-000000000000","status":"pending","lines":[{"sku":"SKU-000001","quantity":1}],' +
  '"customer_id":null,"reference":null,"metadata":null,"created_at":"2026-01-01T00:00:00.000Z",' +
  '"expires_at":"2026-01-01T00:30:00.000Z","closed_at":null,"release_reason":null,"strategy":"batched","ttl_variant":null}'
