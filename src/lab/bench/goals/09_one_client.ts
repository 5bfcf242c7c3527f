import { finish, ONE_SKU, openShop, measureLoad, serve, warmUp } from '../arms.ts'
import { interleave, judgeRatio, type Goal } from '../goal.ts'

/** Batching costs a lone buyer nothing: there is no timer to wait for. */

export const oneClient: Goal = {
  id: 9,
  title: "one client alone: p50 ÷ conditional's p50",
  async run(context) {
    const shop = await openShop(context, 1)
    const service = await serve(context, shop)
    const conditional = await serve(context, shop, { strategy: 'conditional' })
    const one = { scenario: ONE_SKU, connections: 1, db: shop.db }
    const load = [
      { ...one, name: 'batched', server: service },
      { ...one, name: 'conditional', server: conditional },
    ]
    await warmUp(context, load)
    const arms = load.map((arm) => ({
      name: `p50, ${arm.name}`,
      unit: 'µs',
      async measure() {
        const { sample, result } = await measureLoad(context, arm, context.settings.seconds)
        return { value: result.latency.p50_us, faults: sample.faults }
      },
    }))
    const [batched, alone] = await interleave(arms, context.settings.rounds, context)
    return finish(context, [shop], {
      arms: [batched!, alone!],
      rows: [judgeRatio('p50 batched ÷ p50 conditional', batched!, alone!, { at_most: 1.1 })],
    })
  },
}
