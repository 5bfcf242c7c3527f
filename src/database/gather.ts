/**
 * Reads that many ask for at once. While one is in flight whoever asks for the same is gathered for the next, so a read
 * always begins after it was asked for, and a thousand readers of one thing cost one query at a time.
 *
 * @param read what is read for a key
 * @param keyOf the same text for the same thing
 */
export function gathered<Asked, Value>(
  read: (asked: Asked) => Promise<Value>,
  keyOf: (asked: Asked) => string,
): (asked: Asked) => Promise<Value> {
  const flying = new Map<string, Promise<unknown>>()
  const next = new Map<string, Promise<Value>>()

  function start(key: string, asked: Asked): Promise<Value> {
    const reading = read(asked)
    // Whoever follows waits for this, so nothing else can be flying under the key when it lands.
    flying.set(
      key,
      reading.catch(() => undefined).then(() => flying.delete(key)),
    )
    return reading
  }

  return (asked) => {
    const key = keyOf(asked)
    const waiting = next.get(key)
    if (waiting !== undefined) return waiting
    const before = flying.get(key)
    if (before === undefined) return start(key, asked)
    const following = before.then(() => {
      next.delete(key)
      return start(key, asked)
    })
    next.set(key, following)
    return following
  }
}
