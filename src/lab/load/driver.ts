import { runLoad, type LoadPlan } from './run.ts'

/** A process that makes load: runs the plans it is sent, one at a time, and goes when whoever started it does. */

process.on('message', (plan: LoadPlan) => {
  void runLoad(plan).then((counts) => process.send?.(counts))
})
process.on('disconnect', () => process.exit(0))
process.send?.('ready')
