/** What customers find in the shop: a shelf with one SKU, kept by the core, or by nobody. */

export type Shop = {
  /**
   * Takes units off the shelf for a customer who then pays.
   *
   * @param signal aborted when the customer has gone; what was not begun by then need not be
   */
  take(quantity: number, signal: AbortSignal): Promise<Taken>
  restock(units: number): Promise<void>
  level(): Promise<Level>
  /** Looks whether every unit is where it should be, once nobody is left. */
  audit(told: Told): Promise<Audit>
}

/** Units that may be bought, and units that somebody is paying for. */
export type Level = { left: number; held: number }

export type Taken =
  | { kind: 'taken'; units: Units }
  | { kind: 'sold_out' }
  /** `reason`: the code of the refusal. */
  | { kind: 'refused'; reason: string }

/** Units in a customer's hands. */
export type Units = {
  /** @returns undefined if they are paid, else why not: then they are back on the shelf */
  pay(): Promise<string | undefined>
  putBack(): Promise<void>
}

/** What customers and suppliers know of, in units. */
export type Told = { initial: number; restocked: number; sold: number }

export type Audit = {
  /** Whether `initial + restocked = sold + left`, everywhere where it is written down. */
  clean: boolean
  left: number
  /** What was found, in sentences. */
  said: string[]
}
