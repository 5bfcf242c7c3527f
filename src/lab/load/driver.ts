import { runLoad, type LoadPlan } from './run.ts'

/** A process that makes load: runs the plans it is sent, one at a time, and goes when whoever started it does. */

let start: (() => void) | undefined

/** Tells that it is connected, and waits for the others. */
function whenConnected(): Promise<void> {
  return new Promise((resolve) => {
    start = resolve
    process.send?.('connected')
  })
}

process.on('message', (message: LoadPlan | 'start') => {
  if (message === 'start') start?.()
  else void runLoad(message, whenConnected).then((counts) => process.send?.(counts))
})
process.on('disconnect', () => process.exit(0))
process.send?.('ready')
