import { expect, test } from '@jest/globals'
import { drawPlan, type Delivery, type Plan, type PlanOptions } from '../../src/lab/simulate/plan.ts'

const OPTIONS: PlanOptions = {
  seed: 1,
  customers: { from: 10, to: 100 },
  initial: { from: 0, to: 50 },
  restock: { from: 10, to: 30 },
  every_ms: { from: 1000, to: 3000 },
  arrive_ms: { from: 0, to: 5000 },
  quantity: { from: 1, to: 3 },
  pay_ms: { from: 100, to: 400 },
  vip: 0.2,
}

function draw(changes: Partial<PlanOptions> = {}): { plan: Plan; all: unknown } {
  const plan = drawPlan({ ...OPTIONS, ...changes })
  return { plan, all: [plan.initial, plan.customers, firstDeliveries(plan)] }
}

function firstDeliveries(plan: Plan): Delivery[] {
  const deliveries = plan.deliveries()
  return Array.from({ length: 50 }, () => deliveries.next().value)
}

test('the same seed gives the same customers and deliveries, another seed gives others', () => {
  expect(draw({ seed: 7 }).all).toEqual(draw({ seed: 7 }).all)
  expect(draw({ seed: 8 }).all).not.toEqual(draw({ seed: 7 }).all)
})

test('deliveries are the same however often they are asked for', () => {
  const { plan } = draw()
  expect(firstDeliveries(plan)).toEqual(firstDeliveries(plan))
})

test('everything drawn lies within its range, and reaches both ends', () => {
  const plans = Array.from({ length: 60 }, (_, seed) => draw({ seed }).plan)
  const customers = plans.flatMap((plan) => plan.customers)
  const extremes = (values: number[]): [number, number] => [Math.min(...values), Math.max(...values)]
  expect(extremes(customers.map(({ quantity }) => quantity))).toEqual([1, 3])
  expect(extremes(plans.flatMap(firstDeliveries).map(({ units }) => units))).toEqual([10, 30])
  const within = ([least, most]: [number, number], from: number, to: number): void => {
    expect(least).toBeGreaterThanOrEqual(from)
    expect(most).toBeLessThanOrEqual(to)
  }
  within(extremes(plans.map((plan) => plan.customers.length)), 10, 100)
  within(extremes(customers.map(({ arrives_ms }) => arrives_ms)), 0, 5000)
  within(extremes(customers.map(({ pays_ms }) => pays_ms)), 100, 400)
  const gaps = plans.flatMap((plan) =>
    firstDeliveries(plan).map(({ at_ms }, i, all) => at_ms - (all[i - 1]?.at_ms ?? 0)),
  )
  within(extremes(gaps), 1000, 3000)
  const vips = customers.filter(({ vip }) => vip).length / customers.length
  expect(vips).toBeGreaterThan(0.15)
  expect(vips).toBeLessThan(0.25)
})

test('customers are numbered in the order of their arrival', () => {
  const { customers } = draw().plan
  expect(customers.map(({ number }) => number)).toEqual(customers.map((_, i) => i + 1))
  expect(customers.map(({ arrives_ms }) => arrives_ms)).toEqual(
    customers.map(({ arrives_ms }) => arrives_ms).toSorted((a, b) => a - b),
  )
})

test('what one option decides does not depend on the others', () => {
  const arrivals = ({ plan }: { plan: Plan }) =>
    plan.customers.map(({ arrives_ms, quantity }) => [arrives_ms, quantity])
  expect(arrivals(draw({ vip: 0 }))).toEqual(arrivals(draw({ vip: 1 })))
  expect(firstDeliveries(draw({ customers: { from: 5, to: 5 } }).plan)).toEqual(firstDeliveries(draw().plan))
})
