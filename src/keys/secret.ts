import { hash } from 'node:crypto'

/** 64 bits: enough to find the row; the whole digest decides. */
const ID_BYTES = 8

/** What is kept of a secret: the id that finds it and the digest that proves it. */
export type Fingerprint = { id: string; digest: Buffer }

/**
 * Both parts come from the SHA-256 of the secret, so a secret needs no format of its own and BOOTSTRAP_API_KEY may be
 * anything. Finding the row by a hash leaks nothing through the time that the index takes: who doesn't have the secret
 * can't steer its hash.
 */
export function fingerprint(secret: string): Fingerprint {
  // As text: three times as fast as asking for the bytes.
  const hex = hash('sha256', secret, 'hex')
  return { id: hex.slice(0, 2 * ID_BYTES), digest: Buffer.from(hex, 'hex') }
}
