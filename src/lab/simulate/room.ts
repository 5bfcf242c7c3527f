import type { Clock } from './clock.ts'

/**
 * The way into the shop. Invariants: no more are inside than there are places; whoever waits is let in VIPs first, then in
 * the order of arrival; and while a VIP is inside and not yet served, nobody else is let in.
 */
export type Room = {
  /** @returns a place, or undefined if none was free until then */
  enter(visitor: Visitor, until_ms: number): Promise<Place | undefined>
  inside(): number
  /** The most that were inside at one time. */
  peak(): number
}

/** `number`: the order of arrival; who comes again keeps it. */
export type Visitor = { number: number; vip: boolean }

export type Place = {
  /** Has what it came for, or can't have it: a VIP holds up the others no longer. */
  served(): void
  leave(): void
}

type Waiting = { visitor: Visitor; letIn: (place: Place) => void }

/** @param places how many may be inside at once */
export function openRoom(clock: Clock, places: number): Room {
  const line: Waiting[] = []
  let inside = 0
  let peak = 0
  let vips_to_serve = 0

  function letIn(): void {
    for (;;) {
      const first = line[0]
      if (first === undefined || inside >= places || (vips_to_serve > 0 && !first.visitor.vip)) return
      line.shift()
      inside += 1
      peak = Math.max(peak, inside)
      first.letIn(placeOf(first.visitor))
    }
  }

  function placeOf({ vip }: Visitor): Place {
    let [is_served, is_gone] = [!vip, false]
    if (vip) vips_to_serve += 1
    const place: Place = {
      served() {
        if (is_served) return
        is_served = true
        vips_to_serve -= 1
        letIn()
      },
      leave() {
        if (is_gone) return
        is_gone = true
        inside -= 1
        place.served()
        letIn()
      },
    }
    return place
  }

  return {
    enter(visitor, until_ms) {
      return new Promise((resolve) => {
        const waiting: Waiting = {
          visitor,
          letIn(place) {
            callOff()
            resolve(place)
          },
        }
        const callOff = clock.at(until_ms, () => {
          line.splice(line.indexOf(waiting), 1)
          resolve(undefined)
        })
        const after = line.findIndex((other) => goesBefore(visitor, other.visitor))
        line.splice(after < 0 ? line.length : after, 0, waiting)
        letIn()
      })
    },
    inside: () => inside,
    peak: () => peak,
  }
}

function goesBefore(a: Visitor, b: Visitor): boolean {
  return a.vip === b.vip ? a.number < b.number : a.vip
}
